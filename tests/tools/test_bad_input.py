"""Bad input: one screen that says what is wrong, no traceback, nothing written, the input untouched."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from pruna_ir.diagnostics import CODES

ROOT = Path(__file__).resolve().parents[2]
SCREEN = 24
Run = Callable[..., CompletedProcess[str]]


def contents(folder: Path) -> dict[str, str]:
    """Every file of a folder, and the hash of its bytes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def check(outcome: CompletedProcess[str], code: str) -> None:
    """One screen with the diagnostic and nothing else."""
    assert f"error[{code}]:" in outcome.stderr, outcome.stderr
    assert outcome.returncode == CODES[code].exit_code and outcome.returncode in (1, 2)
    assert "Traceback" not in outcome.stderr
    assert len(outcome.stderr.splitlines()) <= SCREEN
    assert outcome.stdout == ""


def save(proto: onnx.ModelProto, **external: Any) -> None:
    onnx.save(proto, "model.onnx", **external)


def not_a_protobuf(proto: onnx.ModelProto) -> None:
    Path("model.onnx").write_text("<html>404 not found</html>")


def empty(proto: onnx.ModelProto) -> None:
    Path("model.onnx").write_bytes(b"")


def truncated(proto: onnx.ModelProto) -> None:
    Path("model.onnx").write_bytes(proto.SerializeToString()[:-100])


def absent(proto: onnx.ModelProto) -> None:
    Path("model.onnx").unlink()


def a_folder(proto: onnx.ModelProto) -> None:
    Path("model.onnx").unlink()
    Path("model.onnx").mkdir()


def external_data_missing(proto: onnx.ModelProto) -> None:
    save(proto, save_as_external_data=True, location="weights.bin", size_threshold=0)
    Path("weights.bin").unlink()


def external_data_short(proto: onnx.ModelProto) -> None:
    save(proto, save_as_external_data=True, location="weights.bin", size_threshold=0)
    Path("weights.bin").write_bytes(Path("weights.bin").read_bytes()[:-8])


def unknown_domain(proto: onnx.ModelProto) -> None:
    proto.graph.node[3].domain = "com.example"
    proto.opset_import.append(helper.make_opsetid("com.example", 1))
    save(proto)


def unknown_operator(proto: onnx.ModelProto) -> None:
    proto.graph.node[3].op_type = "ReLU"
    save(proto)


def cyclic(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].input[0] = "r"
    save(proto)


def dangling(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].input[0] = "nobody"
    save(proto)


def sequence(proto: onnx.ModelProto) -> None:
    proto.graph.node.append(helper.make_node("SequenceConstruct", ["y"], ["list"]))
    save(proto)


def not_valid(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].attribute.append(helper.make_attribute("no_such_attribute", 1))
    save(proto)


def weights(value: float) -> Callable[[onnx.ModelProto], None]:
    def damage(proto: onnx.ModelProto) -> None:
        values = onnx.numpy_helper.to_array(proto.graph.initializer[0]).copy()
        values.flat[5] = value
        proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(values, "w"))
        save(proto)

    return damage


MODELS: list[tuple[str, Callable[[onnx.ModelProto], None]]] = [
    ("M002", not_a_protobuf),
    ("M002", empty),
    ("M002", truncated),
    ("M001", absent),
    ("M001", a_folder),
    ("M003", external_data_missing),
    ("M003", external_data_short),
    ("M004", unknown_domain),
    ("M004", unknown_operator),
    ("M005", cyclic),
    ("M005", dangling),
    ("M007", sequence),
    ("M006", not_valid),
    ("M008", weights(np.nan)),
    ("M008", weights(np.inf)),
]


@pytest.mark.parametrize(("code", "damage"), MODELS)
def test_model(
    run: Run, proto: onnx.ModelProto, model_file: Path, code: str, damage: Callable[[onnx.ModelProto], None]
) -> None:
    run("--version")  # moves into the folder
    damage(proto)
    before = contents(model_file.parent)
    check(run("model.onnx", "-O1", "-o", "out.onnx", "--json", "out.json"), code)
    assert contents(model_file.parent) == before


def samples(**changes: Any) -> dict[str, Any]:
    return {"x": np.ones((4, 3, 8, 8), np.float32)} | changes


def with_value(value: float) -> Any:
    array = np.ones((4, 3, 8, 8), np.float32)
    array[0, 1, 2, 3] = value
    return array


ARRAYS: list[tuple[str, dict[str, Any]]] = [
    ("D003", {"a": np.ones((4, 3, 8, 8), np.float32), "b": np.ones(4, np.float32)}),
    ("D003", samples(x=np.ones((4, 8, 8, 3), np.float32))),
    ("D003", samples(x=np.ones((4, 3, 8), np.float32))),
    ("D003", samples(x=np.full((4, 3, 8, 8), "text"))),
    ("D003", samples(x=np.ones((4, 3, 8, 8), np.complex64))),
    ("D004", samples(x=with_value(np.nan))),
    ("D004", samples(x=with_value(np.inf))),
    ("D005", samples(x=np.ones((0, 3, 8, 8), np.float32))),
    ("D005", {}),
]


@pytest.mark.parametrize(("code", "arrays"), ARRAYS)
def test_samples(run: Run, model_file: Path, code: str, arrays: dict[str, Any]) -> None:
    np.savez(model_file.with_name("data.npz"), **arrays)
    before = contents(model_file.parent)
    check(run("model.onnx", "-O2", "--data", "data.npz", "-o", "out.onnx"), code)
    assert contents(model_file.parent) == before


class Malicious:
    """Would write a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("pwned",))


def write_pickled_npz(path: Path) -> None:
    np.savez(path, x=np.array([Malicious()], dtype=object))


def write_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"x": 1}))


FILES: list[tuple[str, str, Callable[[Path], Any]]] = [
    ("D006", "data.npz", write_pickled_npz),
    ("D006", "data.npy", lambda path: np.save(path, np.array([Malicious()], dtype=object))),
    ("D001", "data.npz", lambda path: path.write_bytes(b"not an archive")),
    ("D001", "data.npz", lambda path: None),
    ("D002", "data.yaml", lambda path: path.write_text("calibratoin: {source: data.npz}\n")),
    ("D001", "data.yaml", lambda path: path.write_text("calibration: {source: missing.npz}\n")),
    ("D001", "data.yaml", lambda path: path.write_text("calibration: [\n")),
    ("D005", "data", lambda path: path.mkdir()),
]


@pytest.mark.parametrize(("code", "name", "write"), FILES)
def test_data_file(run: Run, model_file: Path, code: str, name: str, write: Callable[[Path], Any]) -> None:
    write(model_file.with_name(name))
    before = contents(model_file.parent)
    check(run("model.onnx", "-O2", "--data", name, "-o", "out.onnx"), code)
    assert contents(model_file.parent) == before
    assert not model_file.with_name("pwned").exists()


ARGUMENTS: list[tuple[str, list[str], str]] = [
    ("C001", ["model.onnx", "--frobnicate"], "--help"),
    ("C001", ["model.onnx", "--verify-eahc"], "--verify-each"),
    ("C001", ["model.onnx", "other.onnx"], "one model"),
    ("C004", ["model.onnx", "-O3"], "--budget"),
    ("C001", ["model.onnx", "-O9"], "-O2"),
    ("C001", ["model.onnx", "-O1", "-passes=fuse"], "-passes"),
    ("C001", ["model.onnx", "--goal=beauty"], "speed"),
    ("C001", ["model.onnx", "--max-drop=lots"], "float"),
    ("C001", ["model.onnx", "--max-drop=nan"], "between 0 and 1"),
    ("C001", ["model.onnx", "--remarks=(["], "regular expression"),
    ("C001", ["model.onnx", "--bisect-limit=-1"], "steps"),
    ("C001", ["model.onnx", "-o", "-", "--json", "-"], "stdout"),
    ("C001", ["model.onnx", "-o", "same", "--json", "./same"], "twice"),
    ("C001", ["model.onnx", "--emit="], "onnx"),
    ("C001", [], "no model"),
    ("C001", ["--explain", "fuse-conv-bm"], "fuse-conv-bn"),
    ("C004", ["model.onnx", "--bisect-tolerance=0.1"], "--bisect"),
    ("P001", ["model.onnx", "-passes=fuse,,dead-code"], "name of a pass"),
    ("P001", ["model.onnx", "-passes=quantize<samples=3"], ">"),
    ("P002", ["model.onnx", "-passes=fuse-conv-bm"], "`fuse-conv-bn`"),
    ("P003", ["model.onnx", "-passes=quantize<rnages=mse>"], "`ranges`"),
    ("P004", ["model.onnx", "-passes=quantize<samples=many>"], "samples"),
    ("P004", ["model.onnx", "-passes=quantize<samples=0>"], "at or above 1"),
    ("P005", ["model.onnx", "-passes=store-weights,quantize"], "`store-weights` must run after `quantize`"),
    ("P005", ["model.onnx", "-passes=quantize,onnxsim"], "`onnxsim` must run before `quantize`"),
    ("P006", ["model.onnx", "-O2"], "--data"),
    ("T001", ["model.onnx", "--target=ort-cup"], "`ort-cpu`"),
    ("E001", ["model.onnx", "--emit=onxn"], "`onnx`"),
    ("P003", ["model.onnx", "--emit=onnx<speed=9>"], "no options"),
    ("R001", ["model.onnx", "--replay=missing.json"], "missing.json"),
    ("S002", ["model.onnx", "--load-stats=missing.npz"], "missing.npz"),
    ("C003", ["model.onnx", "-o", "missing/out.onnx"], "missing/out.onnx"),
    ("C003", ["model.onnx", "-o", "model.onnx/out.onnx"], "model.onnx/out.onnx"),
    ("C003", ["model.onnx", "-o", "folder"], "folder"),
    ("C003", ["model.onnx", "-o", "out.onnx", "--json", "missing/out.json"], "missing/out.json"),
    ("C003", ["model.onnx", "-o", "out.onnx", "--decisions", "missing/log.json"], "missing/log.json"),
    ("C003", ["model.onnx", "-o", "out.onnx", "--save-stats", "missing/s.npz"], "missing/s.npz"),
    ("C002", ["model.onnx", "-o", "model.onnx"], "input"),
    ("C002", ["model.onnx", "-o", "symbolic.onnx"], "input"),
    ("C002", ["model.onnx", "-o", "hard.onnx"], "input"),
    ("C002", ["symbolic.onnx", "-o", "model.onnx"], "input"),
    ("C002", ["model.onnx", "-o", "out.onnx", "--json", "model.onnx"], "input"),
    ("C005", ["model.onnx", "--data", "random", "--strict", "-o", "out.onnx"], "random"),
]


@pytest.mark.parametrize(("code", "arguments", "said"), ARGUMENTS)
def test_arguments(run: Run, model_file: Path, code: str, arguments: list[str], said: str) -> None:
    model_file.with_name("folder").mkdir()
    model_file.with_name("symbolic.onnx").symlink_to(model_file)
    os.link(model_file, model_file.with_name("hard.onnx"))
    before = contents(model_file.parent)
    outcome = run(*arguments)
    check(outcome, code)
    assert said in outcome.stderr
    assert contents(model_file.parent) == before


def test_output_over_the_external_data_of_the_input(run: Run, proto: onnx.ModelProto, tmp_path: Path) -> None:
    run("--version")
    save(proto, save_as_external_data=True, location="weights.bin", size_threshold=0)
    before = contents(tmp_path)
    check(run("model.onnx", "-o", "weights.bin"), "C002")
    assert contents(tmp_path) == before


def test_unforeseen_failure(run: Run, model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pruna_ir.report.measure

    def broken(*arguments: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(pruna_ir.report.measure.Counts, "of", broken)
    outcome = run("model.onnx", "-o", "out.onnx")
    check(outcome, "I001")
    assert "KeyError: 'a bug'" in outcome.stderr and not Path("out.onnx").exists()
    assert "Traceback" in run("model.onnx", "--debug").stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["model.onnx", "-passes=fuze"], "P002"), (["broken.onnx", "-o", "out.onnx"], "M002")],
)
def test_as_a_process(model_file: Path, arguments: list[str], code: str) -> None:
    model_file.with_name("broken.onnx").write_bytes(model_file.read_bytes()[:200])
    command = [sys.executable, "-W", "error", "-m", "pruna_ir.tools.pruna_opt", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    folder = model_file.parent
    outcome = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    check(outcome, code)
    assert not re.search("\x1b", outcome.stderr)  # no colours where there is no terminal
    assert not (folder / "out.onnx").exists()
