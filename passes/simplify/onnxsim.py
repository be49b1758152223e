"""onnxsim as a pass: in a process of its own, verified, and taken back when it does not pay."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import onnx
import onnx_graphsurgeon as gs

from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.model.external import PROTOBUF_LIMIT
from pruna_ir.passes.simplify.onnxsim_result import adapt, same_graph
from pruna_ir.passes.simplify.reference import Reference
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.remarks import RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context

_WORKER = Path(__file__).with_name("onnxsim_worker.py")
# What rules and passes of ours do too: they give reasons and can be counted, stepped through and switched off.
_OURS = ("fuse_add_bias_into_conv", "fuse_bn_into_conv", "fuse_matmul_add_bias_into_gemm")
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
    accepts is found to verify it; and for models above 2 GB. Sub-graphs are left as they are.
    """

    name: ClassVar[str] = "onnxsim"
    effect: ClassVar[Effect] = Effect.EXACT
    before: ClassVar[tuple[str, ...]] = ("quantize",)

    timeout: float = option(600.0, "seconds until onnxsim is stopped", low=0.1)

    def run(self, model: Model, context: Context) -> PassResult:
        result = PassResult()
        if _stored_bytes(model.graph) > PROTOBUF_LIMIT:
            self._miss(result, "the model is above 2 GB, which onnxsim cannot hold in memory")
            return result
        original = model.to_proto()
        model.sidecar.strip_types(original)
        with Reference(original, context) as reference:
            simplified = self._simplify(original, result)
            if simplified is None or not adapt(simplified, original, model):
                if simplified is not None:
                    self._miss(result, "onnxsim changed the inputs, the outputs or the operator set")
                return result
            if same_graph(simplified.graph, original.graph):
                return result
            if simplified.ByteSize() > original.ByteSize():
                growth = simplified.ByteSize() - original.ByteSize()
                self._miss(result, "onnxsim made the file {:,} bytes larger", growth)
                return result
            if not self._verified(simplified, reference, result):
                return result
        model.adopt(simplified)
        self._report(original.graph, simplified.graph, result)
        return result

    def _simplify(self, proto: onnx.ModelProto, result: PassResult) -> onnx.ModelProto | None:
        """What onnxsim makes of a model, or None with a remark."""
        with tempfile.TemporaryDirectory(prefix="pruna-onnxsim-") as folder:
            source, target = Path(folder) / "in.onnx", Path(folder) / "out.onnx"
            source.write_bytes(proto.SerializeToString())
            command = [sys.executable, "-P", str(_WORKER), _package(), str(source), str(target), *_OURS]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
            try:
                ended = subprocess.run(command, env=environment, capture_output=True, timeout=self.timeout, check=False)
            except subprocess.TimeoutExpired:
                self._miss(result, "onnxsim did not end within {} seconds (`timeout`)", self.timeout)
                return None
            if ended.returncode != 0 or not target.exists():
                self._miss(result, "onnxsim failed: {}", _last_words(ended))
                return None
            simplified = onnx.ModelProto()
            simplified.ParseFromString(target.read_bytes())
        if not simplified.graph.node and proto.graph.node and not simplified.graph.output:
            self._miss(result, "onnxsim returned an empty model: its result is above 2 GB")
            return None
        return simplified

    def _verified(self, simplified: onnx.ModelProto, reference: Reference, result: PassResult) -> bool:
        try:
            difference = reference.largest_difference(simplified)
        except PrunaError as failure:
            self._miss(result, "the result cannot be verified: {}", failure.diagnostic.message)
            return False
        if difference > TOLERANCE:
            self._miss(result, "onnxsim changed an output by {:.1e} of its range", difference)
            return False
        return True

    def _report(self, before: onnx.GraphProto, after: onnx.GraphProto, result: PassResult) -> None:
        old, new = (Counter(node.op_type for node in graph.node) for graph in (before, after))
        result.changed = True
        if len(after.node) < len(before.node):
            result.count("nodes removed", len(before.node) - len(after.node))
        removed, added = (
            ", ".join(f"{count} {op}" for op, count in sorted(ops.items())) for ops in (old - new, new - old)
        )
        text = "removed {}; added {}" if added else "removed {}"
        values = [removed or "nothing", added]
        result.remarks.append(self.remark(RemarkKind.PASSED, "", text, *values))

    def _miss(self, result: PassResult, template: str, *values: object) -> None:
        result.remarks.append(self.remark(RemarkKind.MISSED, "", template, *values))


def _listing(ops: Counter[str]) -> str:
    return ", ".join(f"{count} {op}" for op, count in sorted(ops.items())) or "nothing"


def _stored_bytes(graph: gs.Graph) -> int:
    constants = {
        id(tensor): tensor
        for scope in [graph, *graph.subgraphs(recursive=True)]
        for node in scope.nodes
        for tensor in [*node.inputs, *node.attrs.values()]
        if isinstance(tensor, gs.Constant)
    }
    return sum(int(tensor._values.nbytes) for tensor in constants.values())


def _package() -> str:
    """The folder of the installed onnxsim, found without importing it; X001 if there is none."""
    spec = importlib.util.find_spec("onnxsim")
    if spec is None or not spec.submodule_search_locations:
        raise error("X001", "`onnxsim` is not installed", help="pip install 'onnxsim>=0.8,<0.9'")
    return next(iter(spec.submodule_search_locations))


def _last_words(ended: subprocess.CompletedProcess[bytes]) -> str:
    if ended.returncode < 0:
        return f"stopped by signal {-ended.returncode}"
    lines = ended.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else f"exit code {ended.returncode}"
