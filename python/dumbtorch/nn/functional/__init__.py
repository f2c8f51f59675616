"""`nn.functional`: the layers' computations as functions, with PyTorch's names and signatures.

Each file lists what it exports in its `__all__`; nothing else needs to name a new function.
"""

from dumbtorch._tensor import Tensor
from dumbtorch.nn.functional import _activation
from dumbtorch.nn.functional._activation import *
from dumbtorch.nn.functional._attention import *
from dumbtorch.nn.functional._bags import *
from dumbtorch.nn.functional._conv import *
from dumbtorch.nn.functional._ctc import *
from dumbtorch.nn.functional._graph import *
from dumbtorch.nn.functional._linear import *
from dumbtorch.nn.functional._linear_loss import *
from dumbtorch.nn.functional._loss import *
from dumbtorch.nn.functional._margin import *
from dumbtorch.nn.functional._multihead import *
from dumbtorch.nn.functional._normalize import *
from dumbtorch.nn.functional._pooling import *
from dumbtorch.nn.functional._vision import *

# In PyTorch these are methods too.
for _method in (_activation.hardshrink, _activation.prelu):
    setattr(Tensor, _method.__name__, _method)
