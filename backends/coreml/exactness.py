"""Which nodes of a legalized model compute in 32 bits where the others compute in 16."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import QUANTIZE, writer_of
from pruna_ir.backends.agreement import fill_batch
from pruna_ir.backends.coreml.rounding import RoundedModel
from pruna_ir.calibration import collect
from pruna_ir.model.scoping import bodies_of
from pruna_ir.passes.precision.half_candidates import candidates, refuse_ranges
from pruna_ir.passes.precision.half_types import HALVES
from pruna_ir.remarks import Reason, Remark, RemarkKind
from pruna_ir.runtime.session import Session

if TYPE_CHECKING:
    from pruna_ir.model import Model

Feeds = Mapping[str, np.ndarray]

# The largest error, relative to the range of its output, that 16 bits may make. It is half of what a package may be
# off, since the device sums in another order and with fewer bits than the simulation.
_MOST_ERROR = 1e-2
# The same for the root of the mean squared error of a quantized model: a value between two integers goes either way,
# and each that does is a whole step off.
_MOST_NOISE = 1e-2
# Nodes are switched in so many parts of the graph, each of nodes that follow one another: a node alone gains nothing,
# since those before and behind it round what it reads and writes.
_PARTS = 32
# Of the parts that stay in 32 bits, so many pieces each are tried in 16 again, those with most weights first, as long
# as the error stays below this part of the limit, or does not grow by more than this factor.
_PIECES = 2
_UNSEEN, _ADDED = 0.25, 1.5
# What must lie between the largest value of a tensor and the largest float16, as for the pass convert-fp16.
_ROOM = 2.0
# Of small graphs a cone of so many nodes is small, of others this part.
_SMALL_CONE, _SMALL_PART = 8, 4


@dataclass(frozen=True)
class Rule:
    """What 16 bits do to an operator when nothing is known of its values.

    `before`: all that it is computed from is exact too, if that is a small part of the graph. `behind`: so are those
    who read its result.
    """

    reason: str
    before: bool = False
    behind: bool = False


# By operator, for models without samples.
RULES = {
    "Log": Rule("numbers near zero, which 16 bits make zero, have logarithms far apart", before=True),
    "Exp": Rule("it exceeds 16 bits from 11.1 on", behind=True),
    **dict.fromkeys(
        ("ReduceSumSquare", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd", "CumSum"),
        Rule("its sums exceed what 16 bits hold, or lose small terms", behind=True),
    ),
}


@dataclass
class Exact:
    """The nodes that compute in 32 bits, by the names of their first outputs, and why."""

    names: set[str] = field(default_factory=set)
    remarks: list[Remark] = field(default_factory=list)

    def add(self, nodes: Iterable[gs.Node], reason: Reason) -> None:
        """Add nodes, and a remark that counts them."""
        added = {name_of(node): str(node.op) for node in nodes if name_of(node) not in self.names}
        if added:
            counts = Counter(added.values())
            named = ", ".join(f"{count} {op}" if count > 1 else op for op, count in sorted(counts.items()))
            text = f"{len(added)} nodes compute in 32 bits ({named}): {{}}"
            self.names |= set(added)
            self.remarks.append(Remark(RemarkKind.MISSED, "coreml", "", Reason(text, reason)))


def name_of(node: gs.Node) -> str:
    """What a node is known by here."""
    return str(node.outputs[0].name)


def exact_nodes(model: Model, samples: Sequence[Feeds]) -> Exact:
    """The nodes that 16 bits are too few for: measured on samples, by rules about operators without any.

    With samples those whose values come near the limits of float16, and then the parts of the graph whose rounding does
    most to the outputs, until the outputs are as they should be.
    """
    exact = Exact()
    if any(bodies_of(node) for node in model.graph.nodes):
        return exact  # is refused anyway
    if not samples:
        _by_rules(model.graph, exact)
        return exact
    session = Session(model, optimize=False)
    full = [fill_batch(feeds, session) for feeds in samples]
    _by_ranges(model, full, exact)
    _by_noise(model, full, exact)
    return exact


def _by_rules(graph: gs.Graph, exact: Exact) -> None:
    for op, rule in RULES.items():
        nodes = [node for node in graph.nodes if node.op == op]
        kept = {id(node): node for node in nodes}
        for node in nodes:
            cone = _cone(node) if rule.before else []
            small = len(cone) <= max(_SMALL_CONE, len(graph.nodes) // _SMALL_PART)
            readers = [reader for tensor in node.outputs for reader in tensor.outputs] if rule.behind else []
            kept |= {id(other): other for other in [*(cone if small else []), *readers]}
        exact.add(kept.values(), Reason("{}: {} (there were no samples to measure it on)", op, rule.reason))


def _cone(node: gs.Node) -> list[gs.Node]:
    """All nodes that a node is computed from."""
    found: dict[int, gs.Node] = {}
    waiting = [node]
    while waiting:
        writers = (writer_of(tensor) for tensor in waiting.pop().inputs)
        fresh = [writer for writer in writers if writer is not None and id(writer) not in found]
        found |= {id(writer): writer for writer in fresh}
        waiting += fresh
    return list(found.values())


def _by_ranges(model: Model, samples: Sequence[Feeds], exact: Exact) -> None:
    """Nodes that read or write values near the limits of the type, by the rules of convert-fp16."""
    half = HALVES["float16"]
    found = candidates(model.graph, half, None, ())
    found.refused.clear()
    refuse_ranges(model.graph, found, half, collect(model, samples), _ROOM)
    for node, reason in found.refused:
        exact.add([node], reason)


def _by_noise(model: Model, samples: Sequence[Feeds], exact: Exact) -> None:
    """The parts of the graph whose rounding does most to the outputs, and of those what has to be."""
    nodes = [node for node in model.graph.nodes if name_of(node) not in exact.names]
    if not nodes:
        return
    quantized = any(node.op == QUANTIZE for node in nodes)
    limit = _MOST_NOISE if quantized else _MOST_ERROR
    parts = list(_split(nodes, _PARTS))
    rounded = _rounded(model, parts, samples)
    measure = rounded.noise if quantized else rounded.largest
    error = before = measure(range(len(parts)))
    if error <= limit:
        return
    ranked = np.argsort([-rounded.noise([index], samples=1) for index in range(len(parts))], kind="stable")
    kept: set[int] = set()
    while error > limit and len(kept) < len(parts):
        kept.add(int(ranked[len(kept)]))
        error = measure([index for index in range(len(parts)) if index not in kept])
    others = [node for index, part in enumerate(parts) if index not in kept for node in part]
    pieces = [piece for index in sorted(kept) for piece in _split(parts[index], _PIECES)]
    rounded = _rounded(model, [others, *pieces], samples)
    measure = rounded.noise if quantized else rounded.largest
    released, limit = {0}, min(limit, max(_UNSEEN * limit, _ADDED * error))
    for index in sorted(range(1, len(pieces) + 1), key=lambda index: -_constant_bytes(pieces[index - 1])):
        less = measure(sorted({*released, index}))
        if less <= limit:
            released, error = {*released, index}, less
    whole = f"puts outputs off by {before:.1e} of their range" if np.isfinite(before) else "loses finite outputs"
    text = "rounding all nodes to 16 bits {}, the others alone puts them off by {:.1e}"
    left = [node for index, piece in enumerate(pieces, 1) if index not in released for node in piece]
    exact.add(left, Reason(text, whole, error))


def _rounded(model: Model, parts: Sequence[Sequence[gs.Node]], samples: Sequence[Feeds]) -> RoundedModel:
    return RoundedModel(model, [[name_of(node) for node in part] for part in parts], samples)


def _constant_bytes(nodes: Sequence[gs.Node]) -> int:
    """What the constants that nodes read take."""
    return sum(tensor.values.nbytes for node in nodes for tensor in node.inputs if isinstance(tensor, gs.Constant))


def _split(nodes: Sequence[gs.Node], most: int) -> Iterator[Sequence[gs.Node]]:
    """Nodes in so many parts of equal size, in order, at most one for each."""
    count = min(most, len(nodes))
    for index in range(count):
        yield nodes[index * len(nodes) // count : (index + 1) * len(nodes) // count]
