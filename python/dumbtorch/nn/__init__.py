"""Neural networks: modules, parameters, functions, initialisation."""

from dumbtorch.nn import functional, init, modules, utils
from dumbtorch.nn.modules import *
from dumbtorch.nn.parameter import Buffer, Parameter
