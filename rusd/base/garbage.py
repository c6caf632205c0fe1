"""Bounds the time that collections of cyclic garbage hold the event loop.

A full collection of CPython visits every container of the process: 60 ms for a million objects. The
survivors of one are frozen here, so that the next visits only what was allocated since: 5 to 20 ms.

Reference counting frees frozen objects as before; only cycles stay that become garbage after they
were frozen. Therefore one collection visits everything once GROWTH more objects are frozen than
after the last such collection. It cannot be divided (CPython 3.11 has no incremental collection)
and holds the loop beyond the budget; `docs/limits.md` says for how long. So what there may be
millions of is kept where the collector does not look (`state/leases.py`), and calls leave no
cycles. The memory of frozen cycles is bounded by GROWTH objects, some hundred MiB.
"""

import gc
from typing import Any

#: Frozen objects by which the process may grow before everything is collected again.
GROWTH = 4_000_000

#: Objects of the youngest generation, and collections of each generation until one of the next:
#: a full collection comes after some 100,000 objects, about as often as by CPython's defaults.
THRESHOLDS = (10_000, 2, 2)

#: Frozen objects above which everything is collected.
_limit = 0


def bound_collections() -> None:
    """Freeze all existing objects now, and the survivors of each full collection from now on.
    Collections are enabled if they were not.

    Applies to the whole process until it ends.
    """
    global _limit
    gc.set_threshold(*THRESHOLDS)
    gc.freeze()
    gc.enable()
    _limit = gc.get_freeze_count() + GROWTH
    if _freeze not in gc.callbacks:
        gc.callbacks.append(_freeze)


def _freeze(phase: str, info: dict[str, Any]) -> None:
    global _limit
    if phase != "stop" or info["generation"] != 2:
        return
    gc.freeze()
    # A walk over a list: 3 ms for a million objects.
    if (frozen := gc.get_freeze_count()) > _limit:
        _limit = frozen + GROWTH
        gc.unfreeze()
