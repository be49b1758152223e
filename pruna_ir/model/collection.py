"""Python's garbage collector, and when it only gets in the way."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """Pause the search for cyclic garbage while many objects are made that all survive.

    Every few hundred new objects start a search, and nothing is there to find: half the time of copying a graph of
    20,000 nodes went into it.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
