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
    outcome = run("model.onnx", "-O2", write("one.npz", x=normal(1)), "-o", "out.onnx", "--goal=size")
    assert outcome.returncode == 0, outcome.stderr
    assert Path("out.onnx").exists()


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_constant_samples(run: Run, model_file: Path, value: float) -> None:
    """All zero is no range at all: what reads it stays in float and says so. Another constant is one."""
    data = write("constant.npz", x=np.full((4, 3, 8, 8), value, np.float32))
    outcome = run("model.onnx", QUANTIZE, data, "-o", "out.onnx", "--remarks=missed")
    assert outcome.returncode == 0, outcome.stderr
    assert ("zero in all calibration samples" in outcome.stderr) == (value == 0.0)


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
