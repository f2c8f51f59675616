"""The same stand-in under the older name of gymnasium."""

from gymnasium import *  # noqa: F403
from gymnasium import make as make
