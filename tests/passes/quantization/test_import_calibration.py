"""TensorRT's calibration caches as Q/DQ."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from small_graphs import build, conv, weights

from pruna_ir.analysis.qdq import pairs
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.passes.quantization.import_calibration import ImportCalibration, read_cache
from pruna_ir.pipeline.manager import PassManager, RunResult
from pruna_ir.testing import check_pass, missed, ops


def cache(folder: Path, scales: dict[str, float], header: str = "TRT-8601-EntropyCalibration2") -> str:
    lines = [f"{name}: {struct.pack('>f', scale).hex()}" for name, scale in scales.items()]
    path = folder / "calibration.cache"
    path.write_text("\n".join([header, *lines]) + "\n")
    return str(path)


def two_layers() -> Model:
    nodes = [conv("c", "x", "w", pads=[1, 1, 1, 1]), conv("d", "c", "v", pads=[1, 1, 1, 1])]
    return build(nodes, {"x": ["n", 16, 8, 8]}, ["d"], {"w": weights(1, 16, 16, 3, 3), "v": weights(2, 16, 16, 3, 3)})


def run(model: Model, path: str) -> RunResult:
    return PassManager([ImportCalibration(path)]).run(model, target="tensorrt")


def test_scales_of_the_cache_are_those_of_the_graph_bit_for_bit(tmp_path: Path) -> None:
    scales = {"x": 1 / 127, "c": 0.012345678, "d": 0.5, "(Unnamed Layer* 3) [Shuffle]_output": 1.0}
    model = two_layers()
    run(model, cache(tmp_path, scales))
    found = {pair.source.name: pair.quantize.inputs[1].values for pair in pairs(model.graph)}
    assert found == {name: np.float32(scales[name]) for name in ("x", "c")}
    assert ops(model).count("DequantizeLinear") == 4, "of the weights too"
    PassManager.parse("lint-qdq<target=tensorrt;strict=true>").run(model, target="tensorrt")


def test_documented_line() -> None:
    """3c010a14 is what caches often have for images from -1 to 1: a scale, not the end of the range."""
    assert struct.unpack(">f", bytes.fromhex("3c010a14"))[0] == pytest.approx(1 / 127, rel=1e-3)


def test_layer_without_a_scale_stays_in_float(tmp_path: Path) -> None:
    model = two_layers()
    result = run(model, cache(tmp_path, {"x": 0.1}))
    assert [pair.source.name for pair in pairs(model.graph)] == ["x"]
    reasons = [str(remark.reason) for remark in result.remarks if remark.kind == "missed"]
    assert reasons == ["stays in float: the cache has no scale for `c`"]


def test_quantized_model_stays(tmp_path: Path) -> None:
    model, path = two_layers(), cache(tmp_path, {"x": 0.1, "c": 0.1})
    run(model, path)
    after, result = check_pass(ImportCalibration(path), model)
    assert not result.changed and ops(after) == ops(model)
    assert missed(result) == ["2 Q/DQ pairs and 0 operators on integers are there already, and stay"]


def test_cache_of_another_model(tmp_path: Path) -> None:
    with pytest.raises(PrunaError) as failure:
        run(two_layers(), cache(tmp_path, {"input": 0.1}))
    assert failure.value.diagnostic.code == "S002" and "no scales for any layer" in failure.value.diagnostic.message


def test_scales_of_zero_are_no_scales(tmp_path: Path) -> None:
    assert read_cache(cache(tmp_path, {"a": 0.0, "b: c": 2.0})) == {"b: c": 2.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no calibration cache"),
        ("scales:\nx: 3c010a14\n", "no calibration cache"),
        ("TRT-8601-MinMax\nx: 3c01\n", "a line is not of the form"),
        ("TRT-8601-MinMax\nx\n", "a line is not of the form"),
        ("TRT-8601-MinMax\nx: zz\n", "a line is not of the form"),
    ],
)
def test_file_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.cache"
    path.write_text(text)
    with pytest.raises(PrunaError, match=message) as failure:
        read_cache(str(path))
    assert failure.value.diagnostic.code == "S002"


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(PrunaError, match="cannot be read"):
        read_cache(str(tmp_path / "none"))
