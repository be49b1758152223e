"""How many threads a session of ONNX Runtime gets."""

from __future__ import annotations

import os

# What measures a model runs it on a few samples at a time: more threads gain little there.
_FEW = 2


def cores() -> int:
    """The cores that this process may run on, which may be fewer than there are: more threads would wait in turns."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def few_threads() -> int:
    """Threads for what passes measure."""
    return min(_FEW, cores())
