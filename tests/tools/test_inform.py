from __future__ import annotations

from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from pruna_ir import registry
from pruna_ir.diagnostics import CODES
from pruna_ir.tools.inform import explain

Run = Callable[..., CompletedProcess[str]]


def test_lists(run: Run) -> None:
    passes = run("--list-passes").stdout
    assert all(f"  {name} " in passes for name in [*registry.passes(), *registry.PIPELINES])
    targets = run("-list-targets").stdout
    assert all(f"  {name} " in targets for name in [*registry.targets(), *registry.backends()])


@pytest.mark.parametrize(
    "name",
    [*CODES, *registry.PIPELINES, *registry.passes(), *registry.targets(), *registry.backends()],
)
def test_everything_is_explained(name: str) -> None:
    text = "\n".join(explain(name))
    assert text.startswith(name) and len(text) > len(name) + 20


def test_explained_pass_shows_its_options(run: Run) -> None:
    text = run("--explain", "quantize").stdout
    assert "needs data" in text and "samples=512" in text and "Before:" in text


def test_pipeline_is_written_out(run: Run) -> None:
    text = run("-O1", "--print-pipeline").stdout.strip()
    assert text == run(f"-passes={text}", "--print-pipeline").stdout.strip()
    assert text.startswith("fold-constants,remove-noop,") and ",fuse<skip=[fuse-focus]>," in text


def test_versions(run: Run) -> None:
    assert "onnxruntime " in run("--version").stdout


def test_the_table_of_this_machine_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pruna_ir.targets.ort_cpu.host_kind", lambda: "arm")
    line = next(line for line in run("--list-targets").stdout.splitlines() if line.startswith("  ort-cpu "))
    assert line.endswith("64-bit Arm: signed activations and weights (here the same as ort-arm)")
    assert "(here the same as ort-arm)" in run("--explain", "ort-cpu").stdout
