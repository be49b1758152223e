"""Local rewrites: a rule looks at one root node, says whether it applies and why not, and rewrites; a driver runs all.

The driver visits each node once for the rules indexed under its op, and again whenever a rewrite touched a neighbour,
until nothing fires. Sub-graphs of control-flow nodes are visited as graphs of their own.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.model.invariants import node_name
from pruna_ir.model.scoping import graphs_of
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.pipeline.rewriter import Rewriter, tensor_names
from pruna_ir.remarks import Reason, Remark, RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context
    from pruna_ir.targets import Target

# The parts of a match by the names that the rule gives them: nodes and tensors.
Match = dict[str, Any]


@dataclass(frozen=True)
class Rule(Pass):
    """A local rewrite, and a pass that runs it alone.

    `match` looks at the structure only and is silent. `check` then returns why the rewrite would be wrong (None: it
    is right); its answer becomes a missed remark. `rewrite` does it through the Rewriter. By convention a rule never
    removes a tensor that is a graph output or that others read; `Rewriter.not_internal` tells. `roots` are operators
    as `op_key` writes them. `makes` is the operator that the rewrite needs, and the first opset that has it: where the
    model's is older, or the target is slow at the operator, the driver says so and does not rewrite. `requires` are
    operators of which a match has one at least (none: unknown): the rule is not tried on models that have none of them.
    """

    effect: ClassVar[Effect] = Effect.EXACT
    roots: ClassVar[tuple[str, ...]]
    opsets: ClassVar[tuple[int, int]] = (13, 10_000)
    makes: ClassVar[tuple[str, int] | None] = None
    requires: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def match(self, root: gs.Node) -> Match | None:
        """The parts that the rule is about if `root` may be its root, else None."""

    @abstractmethod
    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        """Why the rule must not fire here, or None."""

    @abstractmethod
    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        """Rewrite the graph."""

    def possible(self, operators: Set[str]) -> bool:
        """Whether the rule may find anything among nodes of these operators."""
        return not self.requires or not self.requires.isdisjoint(operators)

    def run(self, model: Model, context: Context) -> PassResult:
        """Run this rule alone to its fixed point."""
        return drive([self], model, context)


@dataclass
class RuleStats:
    """How often a rule was tried and fired, and the seconds that it took."""

    tried: int = 0
    fired: int = 0
    seconds: float = 0.0


@dataclass
class _Run:
    index: dict[str, list[Rule]]
    context: Context
    result: PassResult = field(default_factory=PassResult)
    stats: dict[str, RuleStats] = field(default_factory=dict)


# Why a rule did not fire at a node, by the rule's name and the node's identity.
Missed = dict[tuple[str, int], tuple[gs.Node, Remark]]


def drive(rules: Sequence[Rule], model: Model, context: Context) -> PassResult:
    """Run rules together to a fixed point over the model and its sub-graphs."""
    graphs = graphs_of(model.graph)
    index: dict[str, list[Rule]] = {}
    for rule in _possible(rules, {op_key(node) for graph in graphs for node in graph.nodes}):
        if rule.opsets[0] <= model.opset <= rule.opsets[1]:
            for root in rule.roots:
                index.setdefault(root, []).append(rule)
    run = _Run(index, context)
    names = tensor_names(model.graph)
    for graph in graphs:
        _drive_graph(graph, run, names)
    context.rule_stats.append(run.stats)
    return run.result


def _possible(rules: Sequence[Rule], present: set[str]) -> list[Rule]:
    """The rules that may find something among operators that are present, or that such rules make."""
    while True:
        possible = [rule for rule in rules if rule.possible(present)]
        made = {rule.makes[0] for rule in possible if rule.makes is not None}
        if made <= present:
            return possible
        present = present | made


def _drive_graph(graph: gs.Graph, run: _Run, names: set[str]) -> None:
    rewriter = Rewriter(graph, names)
    waiting = deque(node for node in graph.nodes if op_key(node) in run.index)
    queued = {id(node) for node in waiting}
    missed: Missed = {}
    while waiting:
        root = waiting.popleft()
        queued.discard(id(root))
        for rule in run.index[op_key(root)]:
            if rewriter.is_erased(root):
                break
            if _try(rule, root, rewriter, run, missed):
                touched = [node for node in rewriter.take_touched() if op_key(node) in run.index]
                fresh = [node for node in touched if id(node) not in queued]
                waiting.extend(fresh)
                queued.update(id(node) for node in fresh)
                break
    run.result.remarks += [remark for root, remark in missed.values() if not rewriter.is_erased(root)]
    rewriter.commit()


def _try(rule: Rule, root: gs.Node, rewriter: Rewriter, run: _Run, missed: Missed) -> bool:
    start = time.perf_counter()
    stats = run.stats.setdefault(rule.name, RuleStats())
    stats.tried += 1
    match = rule.match(root)
    missed.pop((rule.name, id(root)), None)  # an earlier reason may no longer hold
    fired = False
    if match is not None:
        reason = rule.check(match, rewriter) or _unavailable(rule, rewriter.graph.opset, run.context.target)
        label = node_name(root)
        if reason is not None:
            missed[rule.name, id(root)] = root, Remark(RemarkKind.MISSED, rule.name, label, reason, _stake(root))
        elif run.context.steps.take(f"{rule.name} at `{label}`"):
            rule.rewrite(match, rewriter)
            run.result.count(rule.name)
            run.result.remarks.append(Remark(RemarkKind.PASSED, rule.name, label, Reason("fused")))
            stats.fired += 1
            fired = True
    stats.seconds += time.perf_counter() - start
    return fired


def _unavailable(rule: Rule, opset: int, target: Target) -> Reason | None:
    """Why the operator that a rule makes should not stand in the graph."""
    if rule.makes is None:
        return None
    op, since = rule.makes
    if op in target.slow_ops:
        return Reason("{} is slower than its parts on `{}`", op, target.name)
    if opset < since:
        return Reason("opset {} has no {} (since {}): `--opset {}` raises it", opset, op, since, since)
    return None


def _stake(node: gs.Node) -> int:
    """The number of elements that a node writes, symbolic dimensions counted as one."""
    shapes = [tensor.shape or () for tensor in node.outputs]
    return sum(math.prod(size for size in shape if isinstance(size, int)) for shape in shapes)


def op_key(node: gs.Node) -> str:
    """A node's operator: `Conv` in the standard domain, else with its domain: `com.microsoft::FusedConv`."""
    return node.op if node.domain in (None, "", "ai.onnx") else f"{node.domain}::{node.op}"


def producer(tensor: gs.Tensor, *ops: str) -> gs.Node | None:
    """The node that writes a tensor, if there is one and it is one of `ops` (any op if none is named).

    `ops` are operators as `op_key` writes them.
    """
    if isinstance(tensor, gs.Constant) or not tensor.inputs:
        return None
    node = tensor.inputs[0]
    return node if not ops or op_key(node) in ops else None


def constants(tensors: Iterable[gs.Tensor]) -> Reason | None:
    """A reason that names the first of the tensors that is not a constant."""
    for tensor in tensors:
        if not isinstance(tensor, gs.Constant):
            return Reason("`{}` is not a constant", tensor.name)
    return None
