"""The proof on ONNX Runtime: which nodes of a Q/DQ graph became integer kernels when it was loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pruna_ir import registry
from pruna_ir.analysis.macs import macs_by_node
from pruna_ir.analysis.qdq import INTEGER_OPS, QUANTIZE
from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.passes.quantization.lint.view import LintedKernel, QdqView
from pruna_ir.remarks import Reason
from pruna_ir.runtime.optimized import optimized

if TYPE_CHECKING:
    import onnx

    from pruna_ir.model import Model

# Integer kernels of ONNX Runtime beside those whose names begin with QLinear, which read and write integers.
_WRITE_FLOAT = frozenset({"MatMulIntegerToFloat", "DynamicQuantizeMatMul", "MatMulNBits"})
_INTEGER_KERNELS = frozenset({"QGemm", "ConvInteger", "MatMulInteger"}) | _WRITE_FLOAT


@dataclass
class Proof:
    """What became of the kernels: those in integers and those in float, and MACs by node where they can be told.

    `written` are the results of nodes that were integer ops before (QLinearConv, MatMulInteger).
    """

    integer: list[LintedKernel] = field(default_factory=list)
    floats: list[LintedKernel] = field(default_factory=list)
    written: frozenset[str] = frozenset()
    macs: Mapping[str, int] | Unmeasured = field(default_factory=dict)

    @property
    def share(self) -> float | Unmeasured:
        """The share of the model's MACs that run in integer kernels."""
        if isinstance(self.macs, Unmeasured):
            return self.macs
        total = sum(self.macs.values())
        names = {kernel.kernel.key for kernel in self.integer} | self.written
        found = sum(macs for name, macs in self.macs.items() if name in names)
        return found / total if total else Unmeasured("the model multiplies nothing")

    def summary(self) -> Reason:
        """How many kernels with weights run in integers, and what share of the work that is."""
        done, left = (sum(kernel.weighted for kernel in kernels) for kernels in (self.integer, self.floats))
        share = self.share
        text = f"MACs not counted: {share.reason}" if isinstance(share, Unmeasured) else f"{share:.1%} of the MACs"
        return Reason("ONNX Runtime runs {} of {} kernels with weights in integers ({})", done, done + left, text)


def prove(model: Model, view: QdqView) -> Proof:
    """Load the model and look for each kernel among the integer kernels of ONNX Runtime's optimized graph.

    Raises M009 if ONNX Runtime refuses the model.
    """
    proto = model.to_proto()
    labels = {}
    # What is fused keeps the name of its node or that of its output; nodes may lack names, or share them.
    for index, (node, written) in enumerate(zip(view.graph.nodes, proto.graph.node, strict=True)):
        labels[id(node)] = written.name = f"node {index}"
    fused = list(_in_integers(optimized(proto).graph.node))
    names = {node.name for node in fused}
    results = {name for node in fused for name in node.output if name}
    proof = Proof(written=frozenset(_integer_ops(view)), macs=macs_by_node(model))
    for kernel in view.kernels:
        found = labels[id(kernel.node)] in names or bool(results & set(_results(kernel)))
        (proof.integer if found else proof.floats).append(kernel)
    return proof


def integer_share(model: Model) -> float | None:
    """The share of a model's MACs that ONNX Runtime runs in integer kernels; None if MACs cannot be told."""
    share = prove(model, QdqView(model.graph, registry.target("ort-cpu"))).share
    return None if isinstance(share, Unmeasured) else share


def why_float(kernel: LintedKernel) -> Reason:
    """Why a kernel without findings of the rules stays in float, as far as the graph tells."""
    absorbed = kernel.kernel.absorbed
    if absorbed is not None:
        return Reason("{} stays in front of its QuantizeLinear, whose range does not end where it clips", absorbed.op)
    return Reason("ONNX Runtime does not fuse it")


def _integer_ops(view: QdqView) -> Iterator[str]:
    """The results of integer operators that stand in the graph itself."""
    for node in view.graph.nodes:
        if node.op.startswith("QLinear") or node.op in INTEGER_OPS:
            yield node.outputs[0].name


def _in_integers(nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The integer kernels, and the nodes that move integers."""
    integers: set[str] = set()
    for node in nodes:
        kernel = node.op_type.startswith("QLinear") or node.op_type in _INTEGER_KERNELS
        moves = not kernel and node.op_type != "DequantizeLinear" and bool(node.input) and node.input[0] in integers
        if kernel or moves:
            yield node
        if (kernel and node.op_type not in _WRITE_FLOAT) or moves or node.op_type == QUANTIZE:
            integers.update(node.output)


def _results(kernel: LintedKernel) -> Iterator[str]:
    """The names under which the runtime may write what the kernel computes: those of the whole group."""
    yield kernel.kernel.key
    yield kernel.kernel.output.name
    if kernel.quantizer is not None:
        yield kernel.quantizer.outputs[0].name
    if kernel.row.bias_added_by is not None:
        yield from (
            reader.outputs[0].name for reader in kernel.node.outputs[0].outputs if reader.op == kernel.row.bias_added_by
        )
