"""The tables that a run ends with: the model before and after, and what each pass did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.report.summary import Figures, Score, Speedup, StageFigures, Summary

if TYPE_CHECKING:
    from rich.table import Table

Row = tuple[str, str, str, str]
_MISSING = "-"
_NEAR_ONE = 0.0005


def figures_table(summary: Summary) -> Table:
    """Figures before and after, with their ratio."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(summary.target, no_wrap=True)
    for title in ("before", "after", "change"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in figure_rows(summary):
        table.add_row(*row)
    return table


def figure_rows(summary: Summary) -> Iterator[Row]:
    """The rows of the first table as text."""
    before, after = summary.before, summary.after
    yield _count("nodes", before.nodes, after.nodes)
    yield _count("parameters", before.parameters, after.parameters)
    yield _count("MACs", before.macs, after.macs)
    yield _count("bytes on disk", before.bytes, after.bytes)
    where = "1 thread" if summary.runtime == Summary.runtime else summary.runtime
    yield (f"latency, {where}", _milliseconds(before), _milliseconds(after), _speedup(summary.speedup))
    yield _metric(before.metric, after.metric)


def passes_table(summary: Summary) -> Table:
    """What each pass changed, its seconds, and the drift where it was measured; idle passes share one row."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("pass", overflow="fold")
    table.add_column("changed")
    table.add_column("seconds", justify="right")
    drift = any(not isinstance(stage.sqnr_db, Unmeasured) for stage in summary.stages)
    scored = next((stage.metric.name for stage in summary.stages if isinstance(stage.metric, Score)), None)
    for title in (["SQNR"] if drift else []) + ([scored] if scored else []):
        table.add_column(title, justify="right")
    idle = [stage.stage.seconds for stage in summary.stages if not stage.stage.changed]
    for stage in summary.stages:
        if not stage.stage.changed:
            continue
        cells = [stage.stage.text, _changes(stage), f"{stage.stage.seconds:.2f}"]
        cells += [_decibels(stage.sqnr_db)] if drift else []
        cells += [f"{stage.metric.value:.4f}" if isinstance(stage.metric, Score) else ""] if scored else []
        table.add_row(*cells)
    if idle:
        table.add_row(f"{len(idle)} {'passes' if len(idle) > 1 else 'pass'}", "nothing", f"{sum(idle):.2f}")
    return table


def missing_figures(summary: Summary) -> list[str]:
    """Why figures of the first table are missing, one reason for each."""
    found = {
        "MACs": (summary.before.macs, summary.after.macs),
        "latency": (summary.before.latency_ms, summary.after.latency_ms),
        "metric": (summary.before.metric, summary.after.metric),
    }
    reasons = {
        name: value.reason for name, pair in found.items() for value in reversed(pair) if isinstance(value, Unmeasured)
    }
    return [f"{name} not measured: {reason}" for name, reason in reasons.items()]


def remark_counts(summary: Summary) -> str:
    """How many remarks of each kind there are, or nothing if there are none."""
    counts: dict[str, int] = {}
    for remark in summary.remarks:
        counts[str(remark.kind)] = counts.get(str(remark.kind), 0) + 1
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def _count(name: str, before: int | Unmeasured, after: int | Unmeasured) -> Row:
    if isinstance(before, Unmeasured) or isinstance(after, Unmeasured):
        shown = [_MISSING if isinstance(value, Unmeasured) else f"{value:,}" for value in (before, after)]
        return (name, shown[0], shown[1], "")
    return (name, f"{before:,}", f"{after:,}", _change(before, after))


def _change(before: int, after: int) -> str:
    """The ratio, or the difference where the ratio would be shown as 1."""
    if before == after:
        return "same"
    ratio = after / before if before else 0.0
    return f"{after - before:+,}" if not before or abs(ratio - 1) < _NEAR_ONE else f"{ratio:.3f}x"


def _milliseconds(figures: Figures) -> str:
    return _MISSING if isinstance(figures.latency_ms, Unmeasured) else f"{figures.latency_ms:.4g} ms"


def _speedup(speedup: Speedup | Unmeasured) -> str:
    if isinstance(speedup, Unmeasured):
        return ""
    return f"{speedup.median:.2f}x speed ({speedup.low:.2f} to {speedup.high:.2f})"


def _metric(before: Score | Unmeasured, after: Score | Unmeasured) -> Row:
    if isinstance(before, Unmeasured) or isinstance(after, Unmeasured):
        return ("metric", _MISSING, _MISSING, "")
    change = after.value - before.value
    shown = "same" if change == 0 else f"{change:+.4f}"
    return (f"{after.name} ({after.split})", f"{before.value:.4f}", f"{after.value:.4f}", shown)


def _changes(figures: StageFigures) -> str:
    """What a pass counted."""
    return ", ".join(f"{count:,} {what}" for what, count in figures.stage.counts.items()) or "yes"


def _decibels(value: float | Unmeasured) -> str:
    if isinstance(value, Unmeasured):
        return ""
    return "exact" if value == float("inf") else f"{value:.1f} dB"
