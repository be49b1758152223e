"""The test cases of ONNX's own backend suite, and forms of them in which more can be folded and fused.

They are part of the `onnx` package: models of single nodes, of those nodes' function bodies, converted PyTorch modules
and well-known networks whose weights are generated ("light"), each with inputs, the outputs that they must give and a
tolerance. Nothing is downloaded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.helper import make_node, make_tensor_type_proto, make_tensor_value_info

# `real` are the light models.
KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "real")
# An initializer need not be an input as well from here on.
_FREE_INITIALIZERS = 4
# Two units in the last place of half precision: folding rounds every tensor to it, as the graph says, and ONNX Runtime
# keeps to single precision from one node that it has no kernel for to the next.
_HALF_TOLERANCE = 2**-9

# Arrays; lists and None where an input or output is a sequence or an optional.
Sample = tuple[list[Any], list[Any]]


@dataclass(frozen=True)
class Case:
    """A model, and what it must compute: inputs in the order of the graph's (initializers left out), and outputs."""

    name: str
    model: onnx.ModelProto
    samples: tuple[Sample, ...]
    rtol: float
    atol: float


@cache
def cases(kind: str) -> tuple[Case, ...]:
    """All cases of one of `KINDS`, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some cases are about overflow, and make it
        from onnx.backend.test.loader import load_model_tests

        found = load_model_tests(kind=kind)
        return tuple(_case(test) for test in sorted(found, key=lambda test: test.name))


def _case(test: Any) -> Case:
    if test.model is not None:
        samples = [(_plain(given), _plain(expected)) for given, expected in test.data_sets]
        model = test.model
    elif test.model_dir is not None:
        folder = Path(test.model_dir)
        model = onnx.load(folder / "model.onnx")
        samples = [_stored_sample(model, where) for where in sorted(folder.glob("test_data_set_*"))]
    else:
        path = Path(onnx.__file__).parents[1] / test.url
        model = onnx.load(path)
        stored = onnx.load_tensor(path.with_name(f"{path.stem}_output_0.pb"))
        samples = [([_ramp(value) for value in inputs(model)], [onnx.numpy_helper.to_array(stored)])]
    return Case(test.name, model, tuple(samples), test.rtol, test.atol)


def _plain(values: Sequence[Any]) -> list[Any]:
    """Arrays in place of protobufs and NumPy's scalars."""
    decoded = (onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value for value in values)
    return [np.asarray(value) if isinstance(value, np.generic) else value for value in decoded]


def _stored_sample(model: onnx.ModelProto, folder: Path) -> Sample:
    given, expected = (
        [_stored(folder / f"{kind}_{index}.pb", value.type) for index, value in enumerate(values)]
        for kind, values in (("input", inputs(model)), ("output", model.graph.output))
    )
    return given, expected


def _stored(path: Path, kind: onnx.TypeProto) -> Any:
    data = path.read_bytes()
    if kind.HasField("sequence_type"):
        return onnx.numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(data))


def _ramp(value: onnx.ValueInfoProto) -> np.ndarray:
    """The input that the suite feeds to light models: evenly spaced values from 0 to 1."""
    shape = tuple(dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim)
    count = int(np.prod(shape))
    return (np.arange(count).reshape(shape) / count).astype(np.float32)


def inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs of a model that have to be given."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def variants(case: Case) -> Iterator[tuple[str, Case]]:
    """The forms of a case, by their name in `VARIANTS`; those that make no difference to it are left out."""
    for name, form in VARIANTS.items():
        changed = form(case)
        if changed is not None:
            yield name, changed


def _as_written(case: Case) -> Case:
    return case


def _with_weights(case: Case) -> Case | None:
    """All inputs but the first are constants."""
    return _frozen(case, 1) if len(inputs(case.model)) > 1 else None


def _symbolic(case: Case) -> Case | None:
    """All inputs but the first are constants, and no dimension of the first is known."""
    changed = _frozen(case, 1)
    if changed is None or not inputs(changed.model):
        return None
    (value,) = inputs(changed.model)
    dims = value.type.tensor_type.shape.dim
    if not dims:
        return None
    for axis, dim in enumerate(dims):
        dim.dim_param = f"d{axis}"
    _forget_sizes(changed.model.graph)
    return changed


def _folded(case: Case) -> Case | None:
    """All inputs are constants, and the outputs pass through a Reshape to a shape that is given at run time.

    So what computes them may be folded, which is not done with the outputs of a graph.
    """
    changed = _frozen(case, 0)
    if changed is None or not all(isinstance(value, np.ndarray) for value in changed.samples[0][1]):
        return None
    if all(entry.domain for entry in changed.model.opset_import):
        return None  # no version of Reshape
    graph, expected = changed.model.graph, changed.samples[0][1]
    ends = list(graph.output)
    del graph.output[:]
    for end, value in zip(ends, expected, strict=True):
        shape, read = f"{end.name}_shape", f"{end.name}_read"
        graph.input.append(make_tensor_value_info(shape, onnx.TensorProto.INT64, [value.ndim]))
        graph.node.append(make_node("Reshape", [end.name, shape], [read]))
        open_shape = make_tensor_type_proto(end.type.tensor_type.elem_type, [None] * value.ndim)
        graph.output.append(onnx.helper.make_value_info(read, open_shape))
    shapes = [np.array(value.shape, np.int64) for value in expected]
    halves = any(value.dtype == np.float16 for value in expected)
    rtol = max(case.rtol, _HALF_TOLERANCE) if halves else case.rtol
    return replace(changed, samples=((shapes, expected),), rtol=rtol)


VARIANTS: Mapping[str, Callable[[Case], Case | None]] = {
    "as written": _as_written,
    "weights": _with_weights,
    "symbolic": _symbolic,
    "folded": _folded,
}


def as_constants(case: Case) -> Case | None:
    """The case with constants for all inputs; None if one of them is no tensor."""
    return _frozen(case, 0)


def _frozen(case: Case, kept: int) -> Case | None:
    """The case with its inputs from number `kept` on turned into constants; None if one of them is no tensor."""
    given, expected = case.samples[0]
    if not all(isinstance(value, np.ndarray) for value in given):
        return None
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    model.ir_version = max(model.ir_version, _FREE_INITIALIZERS)
    frozen = inputs(model)[kept:]
    for value, array in zip(frozen, given[kept:], strict=True):
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
    gone = {value.name for value in frozen}
    remaining = [value for value in model.graph.input if value.name not in gone]
    del model.graph.input[:]
    model.graph.input.extend(remaining)
    return replace(case, model=model, samples=((given[:kept], expected),))


def _forget_sizes(graph: onnx.GraphProto) -> None:
    """Keep only the element types and ranks of what a graph computes."""
    del graph.value_info[:]
    for value in graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
