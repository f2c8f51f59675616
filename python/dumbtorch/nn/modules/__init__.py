"""The layers, one file a family.

Each file lists its layers in its `__all__`; nothing else needs to name a new layer.
"""

from dumbtorch.nn.modules.activation import *
from dumbtorch.nn.modules.batchnorm import *
from dumbtorch.nn.modules.container import *
from dumbtorch.nn.modules.conv import *
from dumbtorch.nn.modules.dropout import *
from dumbtorch.nn.modules.flatten import *
from dumbtorch.nn.modules.instancenorm import *
from dumbtorch.nn.modules.linear import *
from dumbtorch.nn.modules.loss import *
from dumbtorch.nn.modules.module import *
from dumbtorch.nn.modules.normalization import *
from dumbtorch.nn.modules.pooling import *
from dumbtorch.nn.modules.sparse import *

# the layers: not the files they lie in, nor what they import
__all__ = [name for name in dir() if name[0].isupper()]
