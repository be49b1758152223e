"""The groups of a model as a table of text: what a dry run prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pruna_ir.passes.pruning.candidates import Survey
from pruna_ir.passes.pruning.ranking import Ranking
from pruna_ir.passes.pruning.reconstruction.sequential import Removals

# Shares of a group's units whose removal the table shows the error of.
SHARES = (0.25, 0.5, 0.75)
_NOT_CUT = ""


def group_lines(survey: Survey, rankings: Mapping[str, Ranking], removed: Removals | None) -> list[str]:
    """A line for each group: its channels, how many would stay, the error without some, and why it is not cut.

    `removed` are units that would go, of the groups that would be cut; None if that was not asked. Errors are relative
    to the variance of what they disturb: the model's outputs where that was measured.
    """
    rows = [["group", "channels", "stay", *(f"-{share:.0%}" for share in SHARES), "ranked by"]]
    rows += _candidates(survey, rankings, removed)
    rows += [[group.name, str(group.size), "all", *[_NOT_CUT] * len(SHARES), str(why)] for group, why in survey.kept]
    return list(_aligned(rows))


def _candidates(survey: Survey, rankings: Mapping[str, Ranking], removed: Removals | None) -> Iterator[list[str]]:
    for candidate in survey.candidates:
        size, ranking = candidate.group.size, rankings.get(candidate.name)
        gone = None if removed is None else removed.get(candidate.name, 0)
        errors = [_NOT_CUT] * len(SHARES)
        if ranking is not None:
            errors = [f"{ranking.scale * ranking.errors[min(int(share * size), size - 1)]:.2g}" for share in SHARES]
        yield [
            candidate.name,
            str(size * candidate.channels),
            "?" if gone is None else str((size - (gone if isinstance(gone, int) else len(gone))) * candidate.channels),
            *errors,
            ranking.criterion if ranking is not None else "",
        ]


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows with columns of equal width: names and the last column to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
        yield "  ".join([*cells, row[-1]]).rstrip()
