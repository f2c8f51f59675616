"""Types of command-line options that the examples share."""

import argparse
import math


def positive_int(text: str) -> int:
    """The type of an option that counts something."""
    value = int(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be above zero, not {value}")
    return value


def positive_float(text: str) -> float:
    """The type of an option that measures something."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a finite number above zero, not {text}")
    return value
