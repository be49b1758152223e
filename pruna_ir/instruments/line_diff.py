"""Differences between two long listings whose lines are nearly all different from each other.

`difflib` takes a quadratic time where many lines change: 20 s for 20,000 nodes. Lines that both listings hold exactly
once are matched here by the longest increasing sequence of their places, which takes n log n (patience diff, after
Bram Cohen).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

# A mark (" ", "-" or "+") and a line.
Edit = tuple[str, str]


def edits(before: Sequence[str], after: Sequence[str]) -> Iterator[Edit]:
    """Every line of both listings in order: kept (" "), removed ("-") or added ("+")."""
    left = right = 0
    for next_left, next_right in [*_anchors(before, after), (len(before), len(after))]:
        yield from _gap(before[left:next_left], after[right:next_right])
        if next_left < len(before):
            yield " ", before[next_left]
        left, right = next_left + 1, next_right + 1


def hunks(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    """The changed lines with one line of context on each side, a head `@@ -line +line @@` before each run of them."""
    number = {" ": 0, "-": 0, "+": 0}
    context, open_until = "", -1
    for at, (mark, line) in enumerate(edits(before, after)):
        number[mark] += 1
        if mark == " ":
            if at <= open_until:
                yield f" {line}"
            context = line
            continue
        if at > open_until:
            first = bool(number[" "]) and open_until < at - 1
            places = [number[" "] + number[side] - (number[" "] > 0 and first) for side in "-+"]
            yield f"@@ -{places[0]} +{places[1]} @@"
        yield f"{mark}{line}"
        open_until = at + 1
