"""Anomaly mode: a derivative that fails or gives NaN names the line that recorded its operation."""

from __future__ import annotations

import warnings
from typing import Any

from dumbtorch.autograd import watch

__all__ = ["detect_anomaly", "set_detect_anomaly"]


def is_anomaly_enabled() -> bool:
    """Whether this thread is in anomaly mode."""
    return watch.STATE.anomaly


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly mode looks for NaN."""
    return watch.STATE.check_nan


def set_anomaly_enabled(mode: bool, check_nan: bool = True) -> None:
    """Switches anomaly mode of this thread."""
    if not isinstance(mode, bool) or not isinstance(check_nan, bool):
        raise TypeError("set_anomaly_enabled(): mode and check_nan must be bool")
    watch.STATE.anomaly, watch.STATE.check_nan = mode, check_nan
    watch.refresh()


class set_detect_anomaly:
    """Switches anomaly mode, at once; as a context manager the earlier mode returns at the end.

    Reference: ``torch.autograd.set_detect_anomaly``.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.prev, self.prev_check_nan = watch.STATE.anomaly, watch.STATE.check_nan
        set_anomaly_enabled(mode, check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: Any) -> None:
        set_anomaly_enabled(self.prev, self.prev_check_nan)


class detect_anomaly:
    """A context in which each recorded operation notes where it was called, and derivatives are checked.

    A derivative that raises is reported with the traceback of its operation (a warning), and with ``check_nan`` one
    that gives NaN raises RuntimeError. Slow; for debugging only. Warns once entered.
    Reference: ``torch.autograd.detect_anomaly``.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.prev, self.prev_check_nan = watch.STATE.anomaly, watch.STATE.check_nan
        self.check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for "
            "debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        set_anomaly_enabled(True, self.check_nan)

    def __exit__(self, *exc: Any) -> None:
        set_anomaly_enabled(self.prev, self.prev_check_nan)


def _report(node: Any) -> None:
    """Warns where the operation of a node was called, and where that of the node whose derivative it is part of was."""
    known = node.metadata
    if "traceback_" not in known:
        warnings.warn(
            f"Error detected in {node.name()}. No forward pass information available. Enable detect anomaly during "
            "forward pass for more information.",
            stacklevel=4,
        )
        return
    warnings.warn(
        f"Error detected in {node.name()}. Traceback of forward call that caused the error:\n"
        + "".join(known["traceback_"]),
        stacklevel=4,
    )
    parent = known.get("parent_")
    while parent is not None:
        lines = parent.metadata.get("traceback_")
        where = "".join(lines) if lines else "No forward pass information available."
        warnings.warn(
            f"\n\nPrevious calculation was induced by {parent.name()}. Traceback of forward call that induced the "
            f"previous calculation:\n{where}",
            stacklevel=4,
        )
        parent = parent.metadata.get("parent_")


def guarded(node: Any, grad: Any, edges: Any, create: bool) -> Any:
    """``node.apply``, watched."""
    state = watch.STATE
    outer, state.evaluating = state.evaluating, node
    try:
        grads = node.apply(grad, edges, create)
    except BaseException:
        _report(node)
        raise
    finally:
        state.evaluating = outer
    if state.check_nan:
        for place, value in enumerate(grads):
            if value is not None and bool(value.isnan().any()):
                _report(node)
                raise RuntimeError(f"Function '{node.name()}' returned nan values in its {place}th output.")
    return grads
