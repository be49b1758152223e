"""A budget of time: a table of what each node takes says where a cut pays, and timing the whole model says how much.

Nodes do not get faster in proportion to their work, and kernels work in blocks of channels. So the table only shapes
the choice; how far to cut is found by timing the pruned model, as it is, against the original.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pruna_ir.model import Model
from pruna_ir.passes.pruning.allocation.budgets import Budget, beyond_reach
from pruna_ir.passes.pruning.allocation.costs import Cost, Term
from pruna_ir.passes.pruning.allocation.curves import Curve
from pruna_ir.passes.pruning.allocation.model_costs import Costs
from pruna_ir.passes.pruning.allocation.solve import floor_of, solve
from pruna_ir.runtime.latency import compare, thread_clock
from pruna_ir.runtime.profile import node_times
from pruna_ir.runtime.session import Session

# The measured time may differ from the budget by this share of it.
TOLERANCE = 0.03
# Models that are timed at most, and the seconds of each.
_PROBES = 8
_SECONDS = 0.6

Widths = dict[str, int]
Cut = Callable[[Widths], Model]


def time_costs(model: Model, costs: Costs, feeds: Mapping[str, object]) -> Cost:
    """Milliseconds as a cost: each kernel's time, in proportion to the work of its first node."""
    return costs.of_nodes(node_times(model, feeds))  # type: ignore[arg-type]


def widths_within_time(
    curves: Sequence[Curve], costs: Cost, left: float, time_left: Callable[[Widths], float]
) -> Widths:
    """The widths with the least error at which `time_left`, a measured fraction, is about `left` and not much more.

    The limit in the table's milliseconds is searched by secants within an interval that shrinks. Raises P010 if
    even the narrowest model takes longer.
    """
    whole = costs.at({curve.name: curve.full for curve in curves})
    low, high = costs.at(floor_of(curves)) / whole, 1.0
    floor = time_left(floor_of(curves))
    if floor > left * (1 + TOLERANCE):
        raise beyond_reach(Budget("latency", left, Cost([Term(1.0)]), 1.0), floor)
    best, time_low, time_high = floor_of(curves), floor, time_left({curve.name: curve.full for curve in curves})
    if time_high <= left:
        return {curve.name: curve.full for curve in curves}
    best_time = floor
    for _ in range(_PROBES):
        share = (left - time_low) / max(time_high - time_low, 1e-9)
        limit = low + (high - low) * min(max(share, 0.1), 0.9)
        found = solve(curves, costs, limit * whole)
        if found is None or found == best:
            break
        measured = time_left(found)
        if abs(measured - left) < abs(best_time - left):
            best, best_time = found, measured
        if abs(measured - left) <= TOLERANCE * left:
            break
        if measured > left:
            high, time_high = limit, measured
        else:
            low, time_low = limit, measured
    return best


def timer(reference: Model, feeds: Mapping[str, object], cut: Cut) -> Callable[[Widths], float]:
    """Measures the time of the model at some widths over the reference's: in turn, in one thread, on its own clock."""
    original = Session(reference)

    def time_left(widths: Widths) -> float:
        timed = compare(original, Session(cut(widths)), feeds, seconds=_SECONDS, clock=thread_clock())  # type: ignore[arg-type]
        return 1.0 / timed.speedup

    return time_left
