"""What `pruna-opt` makes of calibration data that is little, odd or in parts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

Run = Callable[..., CompletedProcess[str]]
QUANTIZE = "-passes=fuse,quantize<guard=false>"


def write(name: str, x: np.ndarray) -> str:
    np.savez(name, x=x)
    return f"--data={name}"


def normal(count: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 3, 8, 8)).astype(np.float32)


def test_statistics_of_parts_are_those_of_the_whole(run: Run, model_file: Path) -> None:
    """Two passes over halves, saved and loaded together, give the file that one pass over all gives."""
    x = normal(16)
    whole = run("model.onnx", QUANTIZE, write("all.npz", x=x), "-o", "whole.onnx", "--save-stats=whole.npz")
    assert whole.returncode == 0, whole.stderr
    for part, values in (("a", x[:6]), ("b", x[6:])):
        assert run("model.onnx", QUANTIZE, write(f"{part}.npz", x=values), f"--save-stats=s{part}.npz").returncode == 0
    loaded = ("--load-stats=sa.npz", "--load-stats", "sb.npz", "--save-stats=merged.npz")
    merged = run("model.onnx", QUANTIZE, "--data=a.npz", *loaded, "-o", "merged.onnx")
    assert merged.returncode == 0, merged.stderr
    assert Path("merged.onnx").read_bytes() == Path("whole.onnx").read_bytes()
    one, other = (np.load(name) for name in ("merged.npz", "whole.npz"))
    assert sorted(one) == sorted(other)
    assert one["samples"] == other["samples"] == 16


def test_statistics_of_two_models_do_not_add_up(run: Run, model_file: Path, proto: onnx.ModelProto) -> None:
    data = write("all.npz", x=normal(4))
    run("model.onnx", QUANTIZE, data, "--save-stats=one.npz")
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "w"))
    onnx.save(proto, "other.onnx")
    run("other.onnx", QUANTIZE, data, "--save-stats=other.npz")
    outcome = run("model.onnx", QUANTIZE, data, "--load-stats=one.npz", "--load-stats=other.npz", "-o", "out.onnx")
    assert outcome.returncode == 1 and "error[S001]" in outcome.stderr and "different models" in outcome.stderr
    assert not Path("out.onnx").exists()


def test_one_sample(run: Run, model_file: Path) -> None:
    arguments = ("model.onnx", "-O2", write("one.npz", x=normal(1)), "-o", "out.onnx", "--goal=size")
    refused = run(*arguments, "--strict")
    assert refused.returncode == 1 and "error[C005]" in refused.stderr and not Path("out.onnx").exists()
    outcome = run(*arguments)
    assert outcome.returncode == 0, outcome.stderr
    assert "warning: the calibration split has one sample" in outcome.stderr and Path("out.onnx").exists()


def test_data_that_no_pass_decides_by_are_not_doubted(run: Run, model_file: Path) -> None:
    outcome = run("model.onnx", "-O1", write("one.npz", x=normal(1)), "-o", "out.onnx", "--strict")
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_constant_samples(run: Run, model_file: Path, value: float) -> None:
    """All zero is no range at all: what reads it stays in float and says so. Another constant is one."""
    data = write("constant.npz", x=np.full((4, 3, 8, 8), value, np.float32))
    outcome = run("model.onnx", QUANTIZE, data, "-o", "out.onnx", "--remarks=missed")
    assert outcome.returncode == 0, outcome.stderr
    assert ("zero in all calibration samples" in outcome.stderr) == (value == 0.0)
    assert "warning: all 4 calibration samples are equal" in outcome.stderr


def test_an_input_that_the_data_does_not_have(run: Run, proto: onnx.ModelProto, tmp_path: Path) -> None:
    run("--version")
    proto.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", 4]))
    proto.graph.node.append(helper.make_node("Mul", ["y", "mask"], ["masked"], name="masking"))
    proto.graph.output.append(helper.make_tensor_value_info("masked", TensorProto.FLOAT, ["n", 4]))
    onnx.save(proto, "model.onnx")
    outcome = run("model.onnx", QUANTIZE, write("x.npz", x=normal(4)), "-o", "out.onnx")
    assert outcome.returncode == 1 and "error[D0" in outcome.stderr and "mask" in outcome.stderr
    assert "Traceback" not in outcome.stderr and not Path("out.onnx").exists()


def test_without_labels_agreement_counts_and_is_named(run: Run, model_file: Path) -> None:
    outcome = run("model.onnx", "-O2", write("x.npz", x=normal(8)), "--goal=size", "--json=s.json", "--max-drop=0.05")
    assert outcome.returncode == 0, outcome.stderr
    reasons = [remark["reason"] for remark in json.loads(Path("s.json").read_text())["remarks"]]
    assert any("no labels" in reason and "agreement with the float model" in reason for reason in reasons)


def test_labels_that_the_metric_needs_are_missing(run: Run, model_file: Path) -> None:
    """Only the test split has labels: the drop is judged by agreement, and that is said loudly."""
    np.savez("all.npz", x=normal(8), y=np.zeros(8, np.int64))
    parts = {"calibration": "", "test": ", labels: y"}
    lines = [f"{name}: {{source: all.npz, array: x{labels}}}" for name, labels in parts.items()]
    Path("data.yaml").write_text("\n".join([*lines, "metric: top1"]))
    arguments = ("model.onnx", "-O2", "--data=data.yaml", "--goal=size", "--max-drop=1", "-o", "out.onnx")
    refused = run(*arguments, "--strict")
    assert refused.returncode == 1 and "top1 needs labels" in refused.stderr and not Path("out.onnx").exists()
    outcome = run(*arguments)
    assert outcome.returncode == 0, outcome.stderr
    assert "warning: top1 needs labels, and the calibration split has none: agreement" in outcome.stderr


def test_a_model_that_is_quantized_already(run: Run, model_file: Path) -> None:
    """Its Q/DQ stay, and whoever asked for quantization is told."""
    data = write("x.npz", x=normal(8))
    assert run("model.onnx", QUANTIZE, data, "-o", "int8.onnx").returncode == 0
    arguments = ("int8.onnx", QUANTIZE, data, "-o", "again.onnx")
    refused = run(*arguments, "--strict")
    assert refused.returncode == 1 and "there already" in refused.stderr and not Path("again.onnx").exists()
    outcome = run(*arguments)
    assert outcome.returncode == 0, outcome.stderr
    assert "warning: quantize: " in outcome.stderr and "Q/DQ pairs" in outcome.stderr
    before, after = (operators(name) for name in ("int8.onnx", "again.onnx"))
    assert after == before and "QuantizeLinear" in before


def operators(path: str) -> list[str]:
    return sorted(node.op_type for node in onnx.load(path).graph.node)
