"""Neural networks: modules, parameters, functions, initialisation."""

from dumbtorch.nn import attention, functional, init, modules, parameter, utils  # isort: skip
from dumbtorch.nn.modules import *

from dumbtorch.nn import blocks  # isort: skip  # built of the layers
from dumbtorch.nn.parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter
