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
    """The changed lines with one kept line on each side; each run of them has a head with its line numbers."""
    found = list(edits(before, after))
    changed = [mark != " " for mark, _ in found]
    left = right = 1
    open_hunk = False
    for at, (mark, line) in enumerate(found):
        shown = any(changed[max(at - 1, 0) : at + 2])
        if shown and not open_hunk:
            yield f"@@ -{left} +{right} @@"
        if shown:
            yield f"{mark} {line}"
        open_hunk = shown
        left += mark != "+"
        right += mark != "-"


def _anchors(before: Sequence[str], after: Sequence[str]) -> list[tuple[int, int]]:
    """Places in both listings of lines that are the same, increasing in both."""
    once = {line for line, count in Counter(before).items() if count == 1}
    places = {line: at for at, line in enumerate(after) if line in once}
    for line, count in Counter(after).items():
        if count > 1:
            places.pop(line, None)
    pairs = [(at, places[line]) for at, line in enumerate(before) if line in places]
    return _longest_increasing(pairs)


def _longest_increasing(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest subsequence whose second members increase."""
    ends: list[int] = []  # the smallest second member that a sequence of each length ends with
    last: list[int] = []  # and the pair that it belongs to
    previous: list[int] = []
    for index, (_, place) in enumerate(pairs):
        length = bisect_left(ends, place)
        previous.append(last[length - 1] if length else -1)
        ends[length : length + 1] = [place]
        last[length : length + 1] = [index]
    chosen = []
    index = last[-1] if last else -1
    while index >= 0:
        chosen.append(pairs[index])
        index = previous[index]
    return chosen[::-1]


def _gap(before: Sequence[str], after: Sequence[str]) -> Iterator[Edit]:
    """The lines between two anchors: what both begin and end with is kept."""
    shorter = min(len(before), len(after))
    head = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    tail = next((at for at in range(shorter - head) if before[-1 - at] != after[-1 - at]), shorter - head)
    yield from ((" ", line) for line in before[:head])
    yield from (("-", line) for line in before[head : len(before) - tail])
    yield from (("+", line) for line in after[head : len(after) - tail])
    yield from ((" ", line) for line in before[len(before) - tail :])
