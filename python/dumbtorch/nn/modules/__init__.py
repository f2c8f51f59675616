"""The layers, one file a family.

Each file lists its layers in its `__all__`; nothing else needs to name a new layer.
"""

from typing import TYPE_CHECKING

from dumbtorch.nn.modules.activation import *
from dumbtorch.nn.modules.adaptive import *
from dumbtorch.nn.modules.batchnorm import *
from dumbtorch.nn.modules.container import *
from dumbtorch.nn.modules.conv import *
from dumbtorch.nn.modules.distance import *
from dumbtorch.nn.modules.dropout import *
from dumbtorch.nn.modules.flatten import *
from dumbtorch.nn.modules.graph import *
from dumbtorch.nn.modules.instancenorm import *
from dumbtorch.nn.modules.lazy_conv import *
from dumbtorch.nn.modules.lazy_layers import *
from dumbtorch.nn.modules.linear import *
from dumbtorch.nn.modules.linear_loss import *
from dumbtorch.nn.modules.loss import *
from dumbtorch.nn.modules.margin import *
from dumbtorch.nn.modules.module import *
from dumbtorch.nn.modules.multihead import *
from dumbtorch.nn.modules.normalization import *
from dumbtorch.nn.modules.padding import *
from dumbtorch.nn.modules.pooling import *
from dumbtorch.nn.modules.rnn import *
from dumbtorch.nn.modules.sparse import *
from dumbtorch.nn.modules.transformer import *
from dumbtorch.nn.modules.upsampling import *

if not TYPE_CHECKING:
    # the layers: not the files they lie in; a type checker reads the lists of the files
    __all__ = [name for name in dir() if name[0].isupper() and name != "TYPE_CHECKING"]
