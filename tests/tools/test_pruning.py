"""Pruning from the command line: budgets, -O3, the manifest, the dry run and the sweep."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import onnx
import pytest
from channel_nets import images, residual_net

from pruna_ir.analysis.macs import count_macs
from pruna_ir.model import Model

Run = Callable[..., CompletedProcess[str]]
BY_WEIGHTS = "-passes=prune-channels<criterion=l2;recover=none;round-to=1>"


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    residual_net().save(path)
    return path


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "samples.npz"
    np.savez(path, x=images(24))
    return path


def macs(path: Path) -> float:
    found = count_macs(Model.load(path))
    assert isinstance(found, int)
    return found


def test_budget_reaches_the_pass(run: Run, net: Path, tmp_path: Path) -> None:
    outcome = run(net, BY_WEIGHTS, "--budget", "macs=0.5", "-o", "out.onnx", "--json", "out.json")
    assert outcome.returncode == 0, outcome.stderr
    assert macs(tmp_path / "out.onnx") <= 0.5 * macs(net)
    document = json.loads((tmp_path / "out.json").read_text())
    assert "macs=0.5" in document["pipeline"]


def test_several_budgets(run: Run, net: Path, tmp_path: Path) -> None:
    outcome = run(net, BY_WEIGHTS, "--budget", "macs=0.8;params=0.5", "-o", "out.onnx")
    assert outcome.returncode == 0, outcome.stderr
    assert macs(tmp_path / "out.onnx") <= 0.8 * macs(net)


def test_level_prunes_and_then_quantizes(run: Run, net: Path, samples: Path, tmp_path: Path) -> None:
    net = tmp_path / "wide.onnx"
    residual_net(32, 48).save(net)
    outcome = run(
        net, "-O3", "--budget", "macs=0.6", "--data", samples, "--goal", "size", "-o", "out.onnx", "--max-drop=1"
    )
    assert outcome.returncode == 0, outcome.stderr
    written = onnx.load(tmp_path / "out.onnx")
    assert any(node.op_type == "QuantizeLinear" for node in written.graph.node)
    assert (tmp_path / "out.onnx").stat().st_size < 0.5 * net.stat().st_size


def test_level_is_written_out(run: Run) -> None:
    text = run("-O3", "--budget", "macs=0.5", "--print-pipeline").stdout
    assert "prune-channels<macs=0.5>" in text
    assert text.index("prune-channels") < text.index("quantize")
    assert "prune-channels," in run("-O3", "--print-pipeline").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["-O3", "--data", "samples.npz"], "C004", "--budget"),
        (["-O3", "--budget", "macs=0.5"], "P006", "--data"),
        (["-O1", "--budget", "macs=0.5"], "C004", "no pass"),
        (["-O3", "--budget", "flops=0.5", "--data", "samples.npz"], "P003", "macs, params, bytes, latency"),
        (["-O3", "--budget", "macs=half", "--data", "samples.npz"], "P004", "number"),
        (["-O3", "--budget", "macs=1.5", "--data", "samples.npz"], "P004", "between"),
        (["-O3", "--budget", "macs", "--data", "samples.npz"], "P004", "value"),
        (["-O3", "--budget", "=", "--data", "samples.npz"], "P001", "option"),
        ([BY_WEIGHTS.replace("<", "<macs=0.5;"), "--budget", "macs=0.5"], "C001", "already"),
        ([BY_WEIGHTS], "P006", "needs a budget"),
        ([BY_WEIGHTS.replace("<", "<ratio=0;")], "P004", "nothing"),
        ([BY_WEIGHTS.replace("<", "<ratio=1;")], "P004", "everything"),
        ([BY_WEIGHTS, "--budget", "macs=0.0001"], "P010", "cannot be cut"),
        ([BY_WEIGHTS, "--sweep", "macs=0.5"], "C001", "list"),
        ([BY_WEIGHTS, "--sweep", "macs=[]"], "C001", "list"),
        ([BY_WEIGHTS, "--sweep", "macs=[0.5,2]"], "P004", "between"),
        ([BY_WEIGHTS, "--sweep", "macs=[0.5]", "--budget", "macs=0.5"], "C001", "--budget"),
        ([BY_WEIGHTS, "--sweep", "macs=[0.5]", "--decisions", "log.json"], "C001", "several models"),
        ([BY_WEIGHTS, "--sweep", "macs=[0.5]", "-o", "net.onnx"], "C003", "folder"),
        (["-O1", "--sweep", "macs=[0.5]"], "C004", "no pass"),
    ],
)
def test_bad_budgets(run: Run, net: Path, samples: Path, arguments: list[str], code: str, text: str) -> None:
    before = sorted(net.parent.iterdir())
    outcome = run("net.onnx", *arguments, *([] if "-o" in arguments else ["-o", "out"]))
    assert f"error[{code}]" in outcome.stderr and text in outcome.stderr, outcome.stderr
    assert outcome.returncode in (1, 2) and outcome.stdout == ""
    assert sorted(net.parent.iterdir()) == before


def test_nothing_prunable_is_no_failure(run: Run, net: Path, tmp_path: Path) -> None:
    plain = run(net, "-O0", "-o", "plain.onnx")
    options = BY_WEIGHTS.replace("<", "<exclude=[op:Conv];")
    outcome = run(net, options, "--budget", "macs=0.5", "-o", "out.onnx")
    assert (plain.returncode, outcome.returncode) == (0, 0)
    assert "nothing can be cut" in outcome.stderr
    assert (tmp_path / "out.onnx").read_bytes() == (tmp_path / "plain.onnx").read_bytes()
    assert run(net, options, "--budget", "macs=0.5", "-o", "out2.onnx", "--strict").returncode == 1


def test_manifest(run: Run, net: Path, tmp_path: Path) -> None:
    outcome = run(net, BY_WEIGHTS, "--budget", "macs=0.5", "-o", "out.onnx", "--manifest", "kept.json")
    assert outcome.returncode == 0, outcome.stderr
    document = json.loads((tmp_path / "kept.json").read_text())
    assert document["format"] == 1
    (cut,) = document["cuts"]
    assert all(len(entry["kept"]) < entry["size"] for entry in cut["tensors"])
    assert {entry["tensor"] for entry in cut["tensors"]} >= {"ws", "wb"}


def test_dry_run_prints_groups(run: Run, net: Path, tmp_path: Path) -> None:
    outcome = run(net, BY_WEIGHTS, "--budget", "macs=0.5", "-o", "out.onnx", "--dry-run")
    assert outcome.returncode == 0, outcome.stderr
    lines = outcome.stdout.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("group"))
    assert len(lines[start:]) == 5
    assert "is an output of the graph" in lines[-1]
    assert not (tmp_path / "out.onnx").exists()


def test_sweep_prints_one_table(run: Run, net: Path, samples: Path, tmp_path: Path) -> None:
    outcome = run(
        net, BY_WEIGHTS, "--sweep", "macs=[0.8,0.5,0.0001]", "--data", samples, "-o", "models", "--json", "rows.json"
    )
    assert outcome.returncode == 0, outcome.stderr
    lines = outcome.stdout.splitlines()
    assert [line.split("|")[1].strip() for line in lines] == [
        *("budget", "---", "original", "macs=0.8", "macs=0.5", "macs=0.0001"),
    ]
    assert "cannot be cut" in lines[-1] and "warning" in outcome.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert rows[1]["macs"] <= 0.8 and rows[2]["macs"] <= 0.5 < rows[1]["macs"]
    assert rows[1]["sqnr_db"] > rows[2]["sqnr_db"]
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["macs-0.5.onnx", "macs-0.8.onnx"]
    assert macs(tmp_path / "models" / "macs-0.5.onnx") <= 0.5 * macs(net)


def test_sweep_as_json(run: Run, net: Path) -> None:
    outcome = run(net, BY_WEIGHTS, "--sweep", "params=[0.7]", "--json", "-")
    assert outcome.returncode == 0, outcome.stderr
    original, row = json.loads(outcome.stdout)
    assert original["budget"] == "original" and row["params"] <= 0.7 and row["score"] is None
