"""Operators that Core ML Tools does not compute, beside ONNX's reference evaluator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.helper import (
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor_value_info,
    np_dtype_to_tensor_dtype,
)
from onnx.reference import ReferenceEvaluator

from pruna_ir.backends.coreml.evaluate.table import table
from pruna_ir.runtime.session import Session

RNG = np.random.default_rng(0)
IOS17 = 8
Array = np.ndarray


def real(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def positive(*shape: int) -> Array:
    return np.asarray(np.abs(real(*shape)) + np.float32(0.1))


def ints(*values: int) -> Array:
    return np.asarray(values, np.int32)


def longs(*values: int) -> Array:
    return np.asarray(values, np.int64)


@dataclass(frozen=True)
class Case:
    """The same in MIL and in ONNX; `first` of the outputs are compared."""

    name: str
    mil: Mapping[str, Any]
    onnx: str
    inputs: tuple[Any, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 17
    first: int = 1

    @property
    def op(self) -> str:
        """The operator of MIL."""
        return self.name.split(",")[0]


# The reference evaluator of ONNX 1.23 mistakes samples for channels in LRN, and fails in grouped transposed
# convolutions: there ONNX Runtime is asked.
WRONG_IN_REFERENCE = ("conv_transpose,grouped", "local_response_norm,3", "local_response_norm,5")


def reference(case: Case) -> list[Array]:
    """What ONNX's reference evaluator makes of the case."""
    given = {f"i{k}": value for k, value in enumerate(case.inputs) if value is not None}
    names = [f"i{k}" if value is not None else "" for k, value in enumerate(case.inputs)]
    outputs = [f"o{k}" for k in range(case.first)]
    node = make_node(case.onnx, names, outputs, **case.attributes)
    infos = [make_tensor_value_info(n, np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in given.items()]
    results = [make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    model = make_model(make_graph([node], "g", infos, results), opset_imports=[make_opsetid("", case.opset)])
    if case.name in WRONG_IN_REFERENCE:
        return list(Session(model, optimize=False).run(given).values())
    return [np.asarray(value) for value in ReferenceEvaluator(model).run(None, given)]


def evaluated(case: Case) -> list[Array]:
    entry = table()[case.op]
    version = {"version": IOS17} if "version" in entry.inputs else {}
    found = entry.compute(**case.mil, **version)
    return list(found) if isinstance(found, tuple | list) else [found]


def _convolutions() -> list[Case]:
    image, line, volume = real(2, 4, 7, 6), real(2, 4, 9), real(1, 2, 5, 4, 6)
    plain: list[tuple[str, Array, Array, dict[str, Any], dict[str, Any]]] = [
        ("grouped", image, real(6, 2, 3, 3), {"groups": 2}, {"group": 2}),
        ("depthwise", image, real(8, 1, 3, 2), {"groups": 4}, {"group": 4}),
        ("line", line, real(3, 4, 3), {"strides": ints(2)}, {"strides": [2]}),
        ("volume", volume, real(3, 2, 2, 1, 3), {}, {}),
        ("dilated", image, real(3, 4, 2, 3), {"dilations": ints(2, 1)}, {"dilations": [2, 1]}),
        (
            "padded",
            image,
            real(3, 4, 3, 3),
            {"pad_type": "custom", "pad": ints(0, 1, 2, 1), "strides": ints(2, 3)},
            {"pads": [0, 2, 1, 1], "strides": [2, 3]},
        ),
        (
            "same",
            image,
            real(3, 4, 3, 2),
            {"pad_type": "same", "strides": ints(2, 2)},
            {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        ),
        (
            "same_lower",
            image,
            real(3, 4, 2, 3),
            {"pad_type": "same_lower", "strides": ints(1, 2)},
            {"auto_pad": "SAME_LOWER", "strides": [1, 2]},
        ),
    ]  # fmt: skip
    cases = []
    for name, x, weight, mil, attributes in plain:
        bias = real(weight.shape[0])
        given = {"x": x, "weight": weight, "bias": bias, **mil}
        cases.append(Case(f"conv,{name}", given, "Conv", (x, weight, bias), attributes))
    transposed: list[tuple[str, Array, Array, dict[str, Any], dict[str, Any]]] = [
        ("plain", image, real(4, 3, 3, 2), {"strides": ints(2, 1)}, {"strides": [2, 1]}),
        ("grouped", image, real(4, 3, 2, 2), {"groups": 2}, {"group": 2}),
        ("line", line, real(4, 3, 3), {"strides": ints(2)}, {"strides": [2]}),
        ("padded", image, real(4, 3, 3, 3), {"pad_type": "custom", "pad": ints(1, 1, 1, 1)}, {"pads": [1, 1, 1, 1]}),
        (
            "output_shape",
            image,
            real(4, 3, 3, 3),
            {"pad_type": "custom", "pad": ints(1, 1, 1, 1), "strides": ints(2, 2), "output_shape": ints(2, 3, 14, 12)},
            {"pads": [1, 1, 1, 1], "strides": [2, 2], "output_padding": [1, 1]},
        ),
        ("dilated", image, real(4, 3, 2, 2), {"dilations": ints(2, 1)}, {"dilations": [2, 1]}),
    ]
    for name, x, weight, mil, attributes in transposed:
        bias = real(weight.shape[1] * int(mil.get("groups", 1)))
        given = {"x": x, "weight": weight, "bias": bias, **mil}
        cases.append(Case(f"conv_transpose,{name}", given, "ConvTranspose", (x, weight, bias), attributes))
    return cases


def _pools() -> list[Case]:
    x = real(2, 3, 7, 6)
    size = {"kernel_sizes": ints(3, 2), "strides": ints(2, 2)}
    same = {"kernel_shape": [3, 2], "strides": [2, 2]}
    padded = {"pad_type": "custom", "pad": ints(1, 1, 0, 0)}
    ceil, upper = {"pad_type": "valid", "ceil_mode": True}, {**same, "auto_pad": "SAME_UPPER"}
    line = {"x": x[0], "kernel_sizes": ints(3), "pad_type": "valid"}
    cases = []
    for op, name in (("max_pool", "MaxPool"), ("avg_pool", "AveragePool")):
        cases += [
            Case(f"{op},valid", {"x": x, **size, "pad_type": "valid"}, name, (x,), same),
            Case(f"{op},ceil", {"x": x, **size, **ceil}, name, (x,), {**same, "ceil_mode": 1}),
        ]
    pads = {**same, "pads": [1, 0, 1, 0]}
    return [
        *cases,
        Case("max_pool,padded", {"x": x, **size, **padded}, "MaxPool", (x,), pads),
        Case("max_pool,same", {"x": x, **size, "pad_type": "same"}, "MaxPool", (x,), upper),
        Case("avg_pool,padded", {"x": x, **size, **padded}, "AveragePool", (x,), {**pads, "count_include_pad": 1}),
        Case(
            "avg_pool,excluding",
            {"x": x, **size, **padded, "exclude_padding_from_average": True},
            "AveragePool",
            (x,),
            pads,
        ),
        Case("l2_pool", {"x": x, **size, "pad_type": "valid"}, "LpPool", (x,), {**same, "p": 2}, 18),
        Case("max_pool,line", line, "MaxPool", (x[0],), {"kernel_shape": [3]}),
    ]


def _norms() -> list[Case]:
    x = real(2, 3, 4, 5)
    scale, bias, mean, variance = real(3), real(3), real(3), positive(3)
    given = {"x": x, "gamma": scale, "beta": bias, "epsilon": np.float32(1e-3)}
    return [
        Case("batch_norm", {**given, "mean": mean, "variance": variance}, "BatchNormalization",
             (x, scale, bias, mean, variance), {"epsilon": 1e-3}),
        Case("instance_norm", given, "InstanceNormalization", (x, scale, bias), {"epsilon": 1e-3}),
        *(
            Case(
                f"local_response_norm,{size}",
                {"x": x, "size": ints(size)[0], "alpha": np.float32(0.1), "beta": np.float32(0.7), "k": np.float32(2)},
                "LRN",
                (x,),
                {"size": size, "alpha": 0.1, "beta": 0.7, "bias": 2.0},
            )
            for size in (3, 5)
        ),
    ]  # fmt: skip


def _spaces() -> list[Case]:
    deep, wide = real(2, 8, 3, 2), real(2, 3, 4, 6)
    return [
        Case("depth_to_space", {"x": deep, "block_size": ints(2)[0]}, "DepthToSpace", (deep,), {"blocksize": 2}),
        Case("pixel_shuffle", {"x": deep, "upscale_factor": ints(2)[0]}, "DepthToSpace", (deep,),
             {"blocksize": 2, "mode": "CRD"}),
        Case("space_to_depth", {"x": wide, "block_size": ints(2)[0]}, "SpaceToDepth", (wide,), {"blocksize": 2}),
        Case("silu", {"x": deep}, "Swish", (deep,), {}, 24),
        Case("one_hot", {"indices": ints(1, 0, 4), "one_hot_vector_size": ints(5)[0], "axis": ints(-1)[0],
                         "on_value": np.float32(3), "off_value": np.float32(-1)},
             "OneHot", (longs(1, 0, 4), np.asarray(5), np.asarray([-1, 3], np.float32)), {"axis": -1}),
        Case("cumsum", {"x": wide, "axis": ints(1)[0], "exclusive": True, "reverse": True}, "CumSum",
             (wide, np.asarray(1)), {"exclusive": 1, "reverse": 1}),
        Case("reverse_sequence", {"x": wide[0], "lengths": ints(2, 3, 1), "seq_axis": ints(1)[0],
                                  "batch_axis": ints(0)[0]},
             "ReverseSequence", (wide[0], longs(2, 3, 1)), {"batch_axis": 0, "time_axis": 1}),
    ]  # fmt: skip


def _gathers() -> list[Case]:
    x, rows = real(3, 4, 5), longs(0, 2, 1, 3).reshape(2, 2)
    batch = longs(1, 0, 2).reshape(3, 1)
    line = longs(0, 3, 3, 1)
    cases = [
        Case("gather_nd", {"x": x, "indices": rows}, "GatherND", (x, rows)),
        Case("gather_nd,batch", {"x": x, "indices": batch, "batch_dims": 1}, "GatherND", (x, batch), {"batch_dims": 1}),
    ]
    for mode, reduction in (("update", "none"), ("add", "add"), ("mul", "mul"), ("max", "max"), ("min", "min")):
        updates, lines = real(2, 5), real(3, 4, 5)
        index = line.reshape(1, 4, 1).repeat(3, 0).repeat(5, 2)
        index = index if mode != "update" else np.sort(index, 1) * 0 + np.arange(4).reshape(1, 4, 1)
        cases += [
            Case(f"scatter_nd,{mode}", {"data": x, "indices": rows, "updates": updates, "mode": mode}, "ScatterND",
                 (x, rows, updates), {"reduction": reduction}, 18),
            Case(f"scatter_along_axis,{mode}",
                 {"data": x, "indices": index, "updates": lines, "axis": ints(1)[0], "mode": mode},
                 "ScatterElements", (x, index, lines), {"axis": 1, "reduction": reduction}, 18),
        ]  # fmt: skip
    return cases


def _samples() -> list[Case]:
    x = real(1, 2, 4, 5)
    grid = RNG.uniform(-1.2, 1.2, (1, 3, 6, 2)).astype(np.float32)
    modes = {"zeros": "constant", "border": "border", "reflection": "reflection"}
    cases = []
    for padding, mode in modes.items():
        for align in (True, False):
            if padding == "reflection" and not align:
                mode = "symmetric"
            given = {
                "x": x,
                "coordinates": grid,
                "sampling_mode": "bilinear",
                "padding_mode": mode,
                "padding_value": np.float32(0),
                "coordinates_mode": "normalized_minus_one_to_one",
                "align_corners": align,
            }
            attributes = {"align_corners": int(align), "padding_mode": padding, "mode": "linear"}
            cases.append(Case(f"resample,{padding} {align}", given, "GridSample", (x, grid), attributes, 20))
    sizes = (None, None, np.asarray([1, 2, 7, 3], np.int64))
    for sampling, transform in (
        ("UNALIGN_CORNERS", "half_pixel"),
        ("STRICT_ALIGN_CORNERS", "align_corners"),
        ("DEFAULT", "asymmetric"),
    ):
        attributes = {"mode": "linear", "coordinate_transformation_mode": transform}
        how: dict[str, Any] = {"sampling_mode": sampling}
        target = {"x": x, "target_size_height": ints(7)[0], "target_size_width": ints(3)[0], **how}
        shape = {"x": x, "shape": ints(7, 3), "resized_dims": ints(2)[0], **how}
        cases += [
            Case(f"resize_bilinear,{sampling}", target, "Resize", (x, *sizes), attributes),
            Case(f"resize,{sampling}", shape, "Resize", (x, *sizes), attributes),
        ]
    scales = (None, np.asarray([1, 1, 2, 3], np.float32))
    factors = {"scale_factor_height": ints(2)[0], "scale_factor_width": ints(3)[0]}
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    smooth = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return [
        *cases,
        Case("upsample_nearest_neighbor", {"x": x, **factors}, "Resize", (x, *scales), nearest),
        Case("upsample_bilinear", {"x": x, **factors, "align_corners": False}, "Resize", (x, *scales), smooth),
    ]


def _recurrent() -> list[Case]:
    steps, batch, size, hidden = 5, 2, 3, 4
    x, h, c = real(steps, batch, size), real(batch, hidden), real(batch, hidden)
    w, r, b = real(4 * hidden, size), real(4 * hidden, hidden), real(4 * hidden)
    peephole = real(3 * hidden)
    common = {"x": x, "initial_h": h, "direction": "forward", "output_sequence": True}
    lstm = {
        **common,
        "initial_c": c,
        "weight_ih": _blocks(w, 0, 2, 1, 3),
        "weight_hh": _blocks(r, 0, 2, 1, 3),
        "bias": _blocks(b, 0, 2, 1, 3),
        "recurrent_activation": "sigmoid",
        "cell_activation": "tanh",
        "activation": "tanh",
    }
    given = (x, w[None], r[None], np.concatenate([b, 0 * b])[None], None, h[None], c[None])
    p = _blocks(peephole, 0, 2, 1)
    gru_w, gru_r, gru_b = real(3 * hidden, size), real(3 * hidden, hidden), real(3 * hidden)
    gru = {
        **common,
        "weight_ih": _blocks(gru_w, 1, 2, 0),
        "weight_hh": _blocks(gru_r, 1, 2, 0),
        "bias": _blocks(gru_b, 1, 2, 0),
        "recurrent_activation": "sigmoid",
        "activation": "tanh",
    }
    gru_given = (x, gru_w[None], gru_r[None], np.concatenate([gru_b, 0 * gru_b])[None], None, h[None])
    rnn_w, rnn_r, rnn_b = real(hidden, size), real(hidden, hidden), real(hidden)
    rnn = {**common, "weight_ih": rnn_w, "weight_hh": rnn_r, "bias": rnn_b, "activation": "tanh"}
    rnn_given = (x, rnn_w[None], rnn_r[None], np.concatenate([rnn_b, 0 * rnn_b])[None], None, h[None])
    size_of = {"hidden_size": hidden}
    return [
        Case("lstm", lstm, "LSTM", given, size_of, first=3),
        Case("lstm,peephole", {**lstm, "peephole": p}, "LSTM", (*given, peephole[None]), size_of, first=3),
        Case("gru", gru, "GRU", gru_given, size_of, first=2),
        Case("rnn", rnn, "RNN", rnn_given, size_of, first=2),
    ]


def _blocks(values: Array, *order: int) -> Array:
    """The gates in another order: ONNX has i, o, f, c and z, r, h, where MIL has i, f, o, z and r, o, z."""
    parts = np.split(values, len(order))
    return np.concatenate([parts[index] for index in order])


CASES: list[Case] = [
    case
    for make in (_convolutions, _pools, _norms, _spaces, _gathers, _samples, _recurrent)
    for case in make()
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_equal(case: Case) -> None:
    wanted, found = reference(case), evaluated(case)
    for expected, value in zip(wanted, found, strict=True):
        # ONNX has an axis of directions.
        same_rank = (
            expected.squeeze(1 if expected.ndim == 4 else 0) if case.onnx in ("LSTM", "GRU", "RNN") else expected
        )
        assert same_rank.shape == value.shape
        np.testing.assert_allclose(value, same_rank, rtol=1e-5, atol=1e-5)
