"""pruna-opt from the command line to the files, in-process: what is written, what is said, and where."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest

from pruna_ir.model import Model
from pruna_ir.report.measure import Latencies
from pruna_ir.report.summary import SCHEMA, Speedup
from pruna_ir.runtime.session import Session

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., CompletedProcess[str]]


def validated(text: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    return document


def outputs(path: Path, x: np.ndarray) -> np.ndarray:
    found: np.ndarray = Session(path).run({"x": x})["y"]
    return found


def test_exact_level_keeps_the_numbers(run: Run, model_file: Path) -> None:
    outcome = run("model.onnx", "-O1", "-o", "out.onnx")
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout == ""
    x = np.random.default_rng(2).standard_normal((5, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(outputs(Path("out.onnx"), x), outputs(model_file, x), rtol=1e-5)
    assert [node.op_type for node in onnx.load("out.onnx").graph.node] == [
        "Conv",
        "Relu",
        "GlobalAveragePool",
        "Flatten",
        "Gemm",
    ]
    for row in ("nodes", "parameters", "MACs", "bytes on disk", "latency, 1 thread", "fuse-conv-bn", "wrote out.onnx"):
        assert row in outcome.stderr


def test_default_level_is_exact(run: Run) -> None:
    assert run("--print-pipeline").stdout == run("-O1", "--print-pipeline").stdout


def test_demo_is_repeatable(run: Run, tmp_path: Path) -> None:
    """The bundled model at -O2: the table, valid JSON, and a replay without measurements that gives the same bytes."""
    outcome = run("--demo", "--json", "-", "--decisions", "log.json", "--save-stats", "stats.npz", "--drift=metric")
    assert outcome.returncode == 0, outcome.stderr
    summary = validated(outcome.stdout)
    before, after = summary["before"], summary["after"]
    assert after["bytes"] == Path("digits.int8.onnx").stat().st_size < 0.4 * before["bytes"]
    assert after["metric"]["split"] == "test" and after["metric"]["value"] > before["metric"]["value"] - 0.01
    assert summary["artifacts"][0]["backend"] == "onnx" and summary["remarks"]
    assert summary["pipeline"].endswith("quantize,correct-bias,store-weights")
    quantized = next(stage for stage in summary["stages"] if stage["pass"] == "quantize")
    assert quantized["sqnr_db"] > 10 and quantized["metric"]["name"] == "top1"
    assert "top1 (test)" in outcome.stderr and "x speed" in outcome.stderr
    again = run("--demo", "--replay", "log.json", "--load-stats", "stats.npz", "-o", "again.onnx", "--quiet")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert Path("again.onnx").read_bytes() == Path("digits.int8.onnx").read_bytes()
    changed = run("--demo", "--replay", "log.json", "-passes=quantize")
    assert changed.returncode == 1 and "error[R001]" in changed.stderr


def test_json_without_data_explains_what_is_missing(run: Run, model_file: Path) -> None:
    outcome = run("model.onnx", "-o", "out.onnx", "--json", "s.json")
    assert outcome.returncode == 0
    summary = validated(Path("s.json").read_text())
    assert summary["after"]["metric"] is None
    assert summary["after"]["metric_reason"] == "no data was given"
    assert summary["speedup"] > 0 and len(summary["speedup_range"]) == 2
    assert summary["stages"][0]["sqnr_db_reason"] == "no data was given"


def test_json_for_a_target_that_does_not_run_here(run: Run, model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pruna_ir.tools.result.host_kind", lambda: "other")
    summary = validated(run("model.onnx", "-O0", "--target=ort-arm", "--json", "-").stdout)
    assert summary["speedup"] is None and "`ort-arm` is not this machine" in summary["speedup_reason"]
    assert summary["after"]["latency_ms"] is None and "speedup_range" not in summary
    assert summary["artifacts"] == []  # nothing was asked to be written


def test_drift_is_measured_by_default_where_there_is_data(run: Run, model_file: Path, data_file: Path) -> None:
    arguments = ("model.onnx", "-passes=fuse,quantize<guard=false>", "--data=data.npz", "--json=s.json")
    shown = run(*arguments).stderr
    fused, quantized = validated(Path("s.json").read_text())["stages"]
    assert fused["sqnr_db"] > 80 > quantized["sqnr_db"] > 10
    assert quantized["metric_reason"].endswith("--drift=metric measures it")
    assert f"{quantized['sqnr_db']:.1f} dB" in shown
    assert " dB" not in run(*arguments, "--drift=off").stderr
    stages = validated(Path("s.json").read_text())["stages"]
    assert {stage["sqnr_db_reason"] for stage in stages} == {"not asked for: --drift=off"}


def test_metric_on_the_calibration_split_says_so(run: Run, model_file: Path, data_file: Path) -> None:
    summary = validated(run("model.onnx", "-O0", "--data", "data.npz", "--json", "-").stdout)
    assert summary["before"]["metric"] == {"name": "agreement", "value": 1.0, "split": "calibration"}


def test_text_in_text_out(run: Run, tmp_path: Path) -> None:
    Path(tmp_path / "m.onnxtxt").write_text(TEXT)
    outcome = run("m.onnxtxt", "-passes=dead-code,fuse", "-o", "-")
    assert outcome.returncode == 0
    assert outcome.stdout.split() == FUSED.split()


TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
small (float[n,3] x) => (float[n,2] y)
<float[3,2] w = {1, 2, 3, 4, 5, 6}, float[2] b = {1, 2}>
{
   i = Identity (x)
   m = MatMul (i, w)
   y = Add (m, b)
}
"""
FUSED = """
<
   ir_version: 8,
   opset_import: ["" : 17]
>
small (float[n,3] x) => (float[n,2] y)
   <float[3,2] w =  {1,2,3,4,5,6}, float[2] b =  {1,2}>
{
   y = Gemm (x, w, b)
}
"""


def test_one_dash_or_two_and_either_form_of_value(run: Run, model_file: Path) -> None:
    for arguments in (["-passes=fuse", "-o=out.onnx"], ["--passes", "fuse", "--output", "out.onnx"]):
        Path("out.onnx").unlink(missing_ok=True)
        assert run("model.onnx", *arguments).returncode == 0
        assert Path("out.onnx").exists()


def test_an_existing_output_survives_a_failed_run(run: Run, model_file: Path) -> None:
    Path(model_file.parent / "out.onnx").write_text("precious")
    np.savez(model_file.with_name("bad.npz"), x=np.full((4, 3, 8, 8), np.nan, np.float32))
    assert run("model.onnx", "-O2", "--data", "bad.npz", "-o", "out.onnx").returncode == 1
    assert Path("out.onnx").read_text() == "precious"
    assert run("model.onnx", "-O0", "-o", "out.onnx").returncode == 0
    onnx.checker.check_model(onnx.load("out.onnx"))


def test_interruption_leaves_nothing(run: Run, model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pruna_ir.tools.result.measure_latencies", interrupt)
    outcome = run("model.onnx", "-o", "out.onnx")
    assert outcome.returncode == 130 and "interrupted" in outcome.stderr
    assert [path.name for path in Path().iterdir()] == ["model.onnx"]


def test_a_loss_is_a_warning_and_under_strict_a_failure(
    run: Run, model_file: Path, data_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disagree(*arguments: object, **options: object) -> Any:
        from pruna_ir.report.summary import Score

        return Score("top1", 0.9, "test"), Score("top1", 0.8, "test")

    monkeypatch.setattr("pruna_ir.tools.result.measure_scores", disagree)
    outcome = run("model.onnx", "-O0", "--data", "data.npz", "-o", "out.onnx", "--quiet")
    assert outcome.returncode == 0
    assert outcome.stderr == "warning: top1 on `test` dropped by 11.11%, more than --max-drop=0.01 (1.00%)\n"
    Path("out.onnx").unlink()
    strict = run("model.onnx", "-O0", "--data", "data.npz", "-o", "out.onnx", "--strict")
    assert strict.returncode == 1 and "error[C005]" in strict.stderr and not Path("out.onnx").exists()


@pytest.mark.parametrize(("speedup", "warned"), [((0.9, 0.85, 0.95), True), ((0.96, 0.9, 1.1), False)])
def test_slower_is_a_warning_unless_it_may_be_noise(
    run: Run, model_file: Path, monkeypatch: pytest.MonkeyPatch, speedup: tuple[float, float, float], warned: bool
) -> None:
    latencies = Latencies(1.0, 1.0 / speedup[0], Speedup(*speedup))
    monkeypatch.setattr("pruna_ir.tools.result.measure_latencies", lambda *arguments: latencies)
    assert ("warning: the result is slower" in run("model.onnx", "-O0", "--quiet").stderr) is warned


def test_models_are_opened_once(run: Run, model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a large one takes seconds. With and without optimizations: the original has only the former."""
    opened: list[bool] = []
    create = Session._create

    def watched(self: Session, source: bytes | str, optimize: bool) -> Any:
        opened.append(optimize)
        return create(self, source, optimize)

    monkeypatch.setattr(Session, "_create", watched)
    frozen = gc.get_freeze_count()
    assert run("model.onnx", "-O0", "-o", "out.onnx").returncode == 0
    assert sorted(opened) == [False, False, True, True]  # the model that was verified, the file; the original, the file
    assert gc.get_freeze_count() == frozen


def test_random_data_are_warned_about(run: Run, model_file: Path) -> None:
    outcome = run("model.onnx", "-O0", "--data", "random", "--quiet")
    assert outcome.returncode == 0 and "warning: the samples are random numbers" in outcome.stderr


def test_sample_on_which_the_original_gives_nan_is_warned_about(run: Run, tmp_path: Path) -> None:
    (tmp_path / "m.onnxtxt").write_text(TEXT.replace("Identity (x)", "Sqrt (x)"))
    np.save(tmp_path / "d.npy", np.array([[1, 1, 1], [-1, 1, 1]], np.float32))
    outcome = run("m.onnxtxt", "-passes=fuse", "--data=d.npy", "-o", "out.onnx", "--quiet")
    assert outcome.returncode == 0
    assert outcome.stderr == "warning: the original model's output `y` holds NaN on sample 1\n"


def test_bisect_limit_stops_early(run: Run, model_file: Path) -> None:
    outcome = run("model.onnx", "-passes=dead-code,fuse", "--bisect-limit=1", "-o", "out.onnx")
    assert "stopped after 1 transformations, the last was dead-code" in outcome.stderr
    assert "BatchNormalization" in [node.op_type for node in onnx.load("out.onnx").graph.node]


@pytest.fixture
def broken_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """`fuse-conv-bn` doubles the weights that it makes."""
    from pruna_ir.passes.fusion.fuse_conv_bn import FuseConvBn

    right = FuseConvBn.rewrite

    def wrong(self: Any, match: Any, rewriter: Any) -> None:
        conv = next(node for node in rewriter.graph.nodes if node.op == "Conv")
        right(self, match, rewriter)
        conv.inputs[1].values = conv.inputs[1].values * 2

    monkeypatch.setattr(FuseConvBn, "rewrite", wrong)


def test_bisect_names_the_culprit(run: Run, model_file: Path, broken_rule: None) -> None:
    outcome = run("model.onnx", "-passes=dead-code,fuse", "--bisect")
    assert outcome.returncode == 0, outcome.stderr
    assert "fuse-conv-bn at `norm`" in outcome.stdout
    assert run("model.onnx", "-O0", "--bisect").stdout.startswith("no transformation")


def test_failing_pass_leaves_a_reproducer(run: Run, model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pruna_ir import registry

    def fail(self: Any, model: Model, context: Any) -> None:
        raise ZeroDivisionError("seeded")

    monkeypatch.setattr(registry.pass_class("deduplicate"), "run", fail)
    hint = run("model.onnx", "-passes=deduplicate", "-o", "out.onnx")
    assert hint.returncode == 1 and "error[P007]" in hint.stderr and "--reproducer DIR" in hint.stderr
    outcome = run("model.onnx", "-passes=deduplicate", "-o", "out.onnx", "--reproducer", "again")
    assert "sh again/reproduce.sh" in outcome.stderr and not Path("out.onnx").exists()
    command = json.loads(Path("again/details.json").read_text())["command"].split()
    assert command[:3] == ["pruna-opt", "model.onnx", "-passes=deduplicate"]
    os.chdir("again")
    assert "ZeroDivisionError: seeded" in run(*command[1:]).stderr


def test_watching(run: Run, model_file: Path, data_file: Path) -> None:
    outcome = run(
        *("model.onnx", "-passes=dead-code,fuse,dead-code", "--data=data.npz", "--drift", "--verify-each", "--verbose"),
        *("--time-passes", "--print-changed", "--dump-dir=dump", "--remarks", "--json=s.json"),
    )
    assert outcome.returncode == 0, outcome.stderr
    assert "SQNR" in outcome.stderr and "fuse: 1 fuse-conv-bn" in outcome.stderr
    assert "passed [fuse-conv-bn] `norm`" in outcome.stderr
    assert " s in passes" in outcome.stderr and "fired 1 of 1 times  fuse-conv-bn in fuse" in outcome.stderr
    assert Path("dump/000-input.onnx").exists()
    stages = {stage["pass"]: stage for stage in validated(Path("s.json").read_text())["stages"]}
    assert stages["fuse"]["sqnr_db"] > 80
    assert stages["dead-code"]["sqnr_db_reason"] == "the pass changed nothing"
    assert stages["fuse"]["metric_reason"].endswith("--drift=metric measures it")


def test_remarks_by_pass(run: Run, model_file: Path) -> None:
    shown = run("model.onnx", "-passes=dead-code,fuse", "--remarks=^fuse").stderr
    assert "[fuse-conv-bn]" in shown and "[dead-code]" not in shown


def test_missed_remarks_start_with_the_largest_tensor(run: Run, tmp_path: Path) -> None:
    def chain(name: str, size: int) -> str:
        return f"{name}c = Clip({name}, low, high) {name}d = Clip({name}c, high, low)"

    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    g (float[2] s, float[9] l) => (float[2] sd, float[9] ld) <float low = {{0}}, float high = {{1}}>
    {{ {chain("s", 2)} {chain("l", 9)} }}"""
    (tmp_path / "clips.onnxtxt").write_text(text)
    shown = run("clips.onnxtxt", "-passes=join-clips", "--remarks=missed").stderr
    assert shown.startswith("missed [join-clips] `ld`: the limits 1.0 and 0.0"), shown


def test_dry_run_writes_nothing(run: Run, model_file: Path, data_file: Path) -> None:
    outcome = run("model.onnx", "-O2", "--data=data.npz", "-o", "out.onnx", "--dry-run")
    assert outcome.returncode == 0 and "writes    out.onnx" in outcome.stdout
    assert not Path("out.onnx").exists()


def test_closed_stdout_is_no_failure_of_ours(model_file: Path) -> None:
    code = f"{sys.executable} -m pruna_ir.tools.pruna_opt model.onnx -O0 -o - --quiet | head -c 10"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    outcome = subprocess.run(code, shell=True, cwd=model_file.parent, env=environment, capture_output=True, check=False)
    assert outcome.stdout.startswith(b"<") and outcome.stderr == b""


def test_statistics_that_nobody_collected(run: Run, model_file: Path) -> None:
    outcome = run("model.onnx", "-O0", "--save-stats=stats.npz", "--quiet")
    assert outcome.returncode == 0 and not Path("stats.npz").exists()
    assert outcome.stderr == "warning: nothing was calibrated: `stats.npz` is not written\n"


def test_test_split_is_opened_after_the_last_decision(
    run: Run, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pruna_ir.data import BoundDataset
    from pruna_ir.report import measure

    samples = np.random.default_rng(1).standard_normal((16, 3, 8, 8)).astype(np.float32)
    np.savez(model_file.with_name("data.npz"), a=samples, b=samples[:8])
    model_file.with_name("data.yaml").write_text(
        "calibration: {source: data.npz, array: a}\ntest: {source: data.npz, array: b}\n"
    )
    events: list[str] = []
    opened, scored = BoundDataset._open, measure.measure_scores

    def watched_open(self: BoundDataset, name: str) -> Any:
        events.append(name)
        return opened(self, name)

    def watched_scores(*arguments: Any) -> Any:
        events.append("final")
        return scored(*arguments)

    monkeypatch.setattr(BoundDataset, "_open", watched_open)
    monkeypatch.setattr("pruna_ir.tools.result.measure_scores", watched_scores)
    outcome = run("model.onnx", "-passes=fuse,quantize", "--data=data.yaml", "--drift=metric", "--verify-each")
    assert outcome.returncode == 0, outcome.stderr
    assert events == ["calibration", "final", "test"]
