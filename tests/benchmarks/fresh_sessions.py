"""How much faster one model runs than another, with the sessions made anew in every turn.

Where a session's memory lies shows in its times, by up to a quarter, and the rounds of one pair of sessions do not
show that. So a ratio is taken over several turns, by turns one model's session made first and the other's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pruna_ir.runtime.latency import compare
from pruna_ir.runtime.session import Session

Feeds = Mapping[str, np.ndarray]


def speedups(before: Path, after: Path, feeds: Feeds, *, turns: int, seconds: float, threads: int = 1) -> list[float]:
    """The time of `before` over that of `after`, for each turn of `seconds`."""
    return [_turn(before, after, feeds, seconds, threads, after_first=index % 2 == 0) for index in range(turns)]


def _turn(before: Path, after: Path, feeds: Feeds, seconds: float, threads: int, *, after_first: bool) -> float:
    order = (after, before) if after_first else (before, after)
    made = {path: Session(path, threads=threads) for path in order}
    return compare(made[before], made[after], feeds, seconds=seconds).speedup
