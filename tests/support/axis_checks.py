"""What must hold when units are removed from a model, for tests of the axis rules and of the surgery."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
from pruning_oracle import NORMS, masked, removed_by

from pruna_ir.analysis.axes import AxisAnalysis, Group, Options, Removed, analyze
from pruna_ir.model import Model
from pruna_ir.model.invariants import node_name
from pruna_ir.passes.pruning.surgery import remove
from pruna_ir.testing import TOLERANCE, largest_difference

# Reductions that the oracle knows; over others, a model without some units is another function.
_KNOWN = (*NORMS, "ReduceMean")


def halves(groups: Sequence[Group], seed: int = 0) -> dict[str, list[int]]:
    """Half of the units of each group, at random."""
    rng = np.random.default_rng(seed)
    return {group.name: rng.permutation(group.size)[: group.size // 2].tolist() for group in groups if group.size > 1}


def check_removal(
    model: Model,
    removed: Removed,
    analysis: AxisAnalysis | None = None,
    *,
    feeds: Mapping[str, np.ndarray] | None = None,
    tolerance: float = TOLERANCE,
) -> Model:
    """The model without some units, after checking that it is sound, and equal to the oracle where that holds.

    Raises AssertionError if it is not: the interface changed, onnx refuses it or infers other shapes than it states,
    ONNX Runtime does not run it, what is left of the analysis is about other sizes, or an output differs.
    """
    analysis = analysis or analyze(model)
    before, cut = model.fingerprint(), model.clone()
    remove(cut, analysis, removed)
    assert model.fingerprint() == before, "the original has changed"
    cut.check()
    assert [*map(str, [*cut.inputs(), *cut.outputs()])] == [*map(str, [*model.inputs(), *model.outputs()])]
    _check_shapes(cut)
    _check_axes(analysis.without(removed), cut)
    ops = {node_name(node): node.op for node in model.graph.nodes}
    reduces = {ops[name] for group in analysis.groups if removed.get(group.name) for name in group.reduces}
    reference = masked(_ranked(model, analysis), removed_by(analysis, removed)) if reduces <= {*_KNOWN} else cut
    difference = largest_difference(reference, cut, feeds)
    assert difference <= tolerance, f"{removed}: an output differs by {difference:.1e} of its range"
    return cut


def check_groups(model: Model, options: Options | None = None, *, tolerance: float = TOLERANCE) -> AxisAnalysis:
    """Check the removal of half of each free group by itself, of half of all of them, and of all but one unit.

    Not of the latter where a norm is over them: that of one number is noise.
    """
    analysis = analyze(model, options)
    assert analysis.free
    every = halves(analysis.free, seed=len(analysis.free))
    last = {group.name: [*range(1, group.size)] for group in analysis.free if not group.reduces}
    for removed in [*({name: units} for name, units in every.items()), every, last]:
        check_removal(model, removed, analysis, tolerance=tolerance)
    return analysis


def described(analysis: AxisAnalysis) -> dict[str, int | str]:
    """The groups by name: the size, or the reason for which one is protected."""
    return {group.name: group.size if group.protected is None else str(group.protected) for group in analysis.groups}


def _ranked(model: Model, analysis: AxisAnalysis) -> Model:
    """A copy in which the analysis says the rank of what onnx does not infer; the type is taken to be float."""
    copy = model.clone()
    for name, tensor in copy.graph.tensors().items():
        if tensor.shape is None and name in analysis.tensors:
            tensor.shape = [None] * len(analysis.tensors[name])
            tensor.dtype = tensor.dtype or np.float32
    return copy


def _check_axes(left: AxisAnalysis, cut: Model) -> None:
    """What is left of the analysis of a model is about the axes that are left of the model."""
    tensors = cut.graph.tensors()
    for name, axes in left.tensors.items():
        shape = tensors[name].shape if name in tensors else None
        for size, units in zip(shape or [None] * len(axes), axes, strict=True):
            assert units is None or not isinstance(size, int) or len(units) == size, f"`{name}` is {shape}"


def _check_shapes(model: Model) -> None:
    """The shapes that the model states are those that onnx infers from its inputs."""
    proto = model.to_proto()
    onnx.checker.check_model(proto)
    stated = dict(_shapes(proto))
    del proto.graph.value_info[:]
    for name, shape in _shapes(onnx.shape_inference.infer_shapes(proto, data_prop=True)):
        for size, inferred in zip(stated.get(name, shape), shape, strict=True):
            assert not (size and inferred) or size == inferred, f"`{name}` is {shape}, not {stated[name]}"


def _shapes(proto: onnx.ModelProto) -> Iterator[tuple[str, list[int]]]:
    for value in [*proto.graph.value_info, *proto.graph.output]:
        if value.type.tensor_type.HasField("shape"):
            yield value.name, [dim.dim_value for dim in value.type.tensor_type.shape.dim]
