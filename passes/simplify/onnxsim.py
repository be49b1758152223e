"""onnxsim as a pass: in a process of its own, verified, and taken back when it does not pay."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import onnx
import onnx_graphsurgeon as gs

from pruna_ir.diagnostics import PrunaError
from pruna_ir.model.conversion import with_weights, without_weights
from pruna_ir.model.external import PROTOBUF_LIMIT
from pruna_ir.model.scoping import graphs_of
from pruna_ir.passes.simplify.onnxsim_process import OnnxsimProcess
from pruna_ir.passes.simplify.onnxsim_result import adapt, same_graph
from pruna_ir.passes.simplify.reference import Reference
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.remarks import Reason, Remark, RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context

# What rules of ours do too: they give reasons and can be counted, stepped through and switched off.
_OURS = (
    "fuse_add_bias_into_conv",
    "fuse_bn_into_conv",
    "fuse_matmul_add_bias_into_gemm",
    "fuse_matmul_add_bias_into_gemm_batched",
)
# Largest difference from the original's outputs, relative to their range.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Onnxsim(Pass):
    """Simplify with onnxsim (https://github.com/onnxsim/onnxsim): shape arithmetic, no-ops, consecutive operators.

        before   x -> Shape -> Gather -> Unsqueeze -> Concat -> Reshape     If(true) {a} else {b}
        after    x -> Reshape                                               a

    It runs in a process of its own, whose crash, hang or hunger for memory costs nothing but a remark. The result is
    run against the original on a calibration sample, or on random inputs where there is no data. Fusions that our
    rules do are left to them.

    Does not fire, with a remark that says why, if onnxsim fails, does not end within `timeout`, changes the interface
    or the numbers (by more than 1e-5 of an output's range), or makes the file larger; if no input that the model
    accepts is found to verify it; and for models above 2 GB. Sub-graphs are left as they are, and weights are not shown
    to it: what computes with them is for other passes.
    """

    name: ClassVar[str] = "onnxsim"
    effect: ClassVar[Effect] = Effect.EXACT
    before: ClassVar[tuple[str, ...]] = ("quantize",)

    timeout: float = option(600.0, "seconds until onnxsim is stopped", low=0.1)
    infer_up_to: int = option(5000, "nodes up to which onnxsim infers all shapes anew in each of its rounds", low=0)

    def run(self, model: Model, context: Context) -> PassResult:
        if _stored_bytes(model.graph) > PROTOBUF_LIMIT:
            return self._missed(Reason("the model is above 2 GB, which onnxsim cannot hold"))
        infer = len(model.graph.nodes) <= self.infer_up_to
        with OnnxsimProcess(_OURS, infer_shapes=infer) as process:
            original = model.to_proto()
            light, weights = without_weights(original)
            typed = light.SerializeToString()
            model.sidecar.strip_types(original)
            with Reference(original, context) as reference:
                answer = process.simplify(typed, self.timeout)
                if isinstance(answer, Reason):
                    return self._missed(answer)
                simplified = onnx.ModelProto.FromString(answer)
                if same_graph(simplified.graph, light.graph):
                    return PassResult()
                with_weights(simplified, weights)
                if not adapt(simplified, original, model):
                    return self._missed(Reason("onnxsim changed the inputs, the outputs or the operator set"))
                reason = _not_better(simplified, original) or _not_equal(simplified, reference)
                if reason is not None:
                    return self._missed(reason)
        model.adopt(simplified)
        return self._report(original.graph, simplified.graph)

    def _report(self, before: onnx.GraphProto, after: onnx.GraphProto) -> PassResult:
        result = PassResult(changed=True)
        for what, old, new in (
            ("nodes removed", before.node, after.node),
            ("constants removed", before.initializer, after.initializer),
        ):
            if len(new) < len(old):
                result.count(what, len(old) - len(new))
        gone, come = (Counter(node.op_type for node in graph.node) for graph in (before, after))
        values = _listing(gone - come), _listing(come - gone)
        result.remarks.append(self.remark(RemarkKind.PASSED, "", "removed {}; added {}", *values))
        return result

    def _missed(self, reason: Reason) -> PassResult:
        return PassResult(remarks=[Remark(RemarkKind.MISSED, self.name, "", reason)])


def _not_better(simplified: onnx.ModelProto, original: onnx.ModelProto) -> Reason | None:
    growth = simplified.ByteSize() - original.ByteSize()
    return Reason("onnxsim made the file {:,} bytes larger", growth) if growth > 0 else None


def _not_equal(simplified: onnx.ModelProto, reference: Reference) -> Reason | None:
    try:
        difference = reference.largest_difference(simplified)
    except PrunaError as failure:
        return Reason("the result of onnxsim cannot be verified: {}", failure.diagnostic.message)
    return Reason("onnxsim changed an output by {:.1e} of its range", difference) if difference > TOLERANCE else None


def _listing(ops: Counter[str]) -> str:
    return ", ".join(f"{count} {op}" for op, count in sorted(ops.items())) or "nothing"


def _stored_bytes(graph: gs.Graph) -> int:
    """Bytes of all constants of a graph and its sub-graphs."""
    constants = {
        id(tensor): tensor
        for scope in graphs_of(graph)
        for node in scope.nodes
        for tensor in [*node.inputs, *node.attrs.values()]
        if isinstance(tensor, gs.Constant)
    }
    return sum(int(tensor._values.nbytes) for tensor in constants.values())
