"""What a run did to a model, in figures: the content of `--json` and of the table at the end.

`schema.json` beside this file is its form. A figure that could not be measured is null, and a key of the same name
that ends in `_reason` says why; that key is there only then.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.emission import Artifact
from pruna_ir.pipeline.manager import Stage
from pruna_ir.remarks import Remark

SCHEMA = Path(__file__).with_name("schema.json")


@dataclass(frozen=True)
class Score:
    """A metric's value on a split; `agreement` compares with the outputs of the model before the run."""

    name: str
    value: float
    split: str
    higher_is_better: bool = True


@dataclass(frozen=True)
class Figures:
    """A model's size and speed. `bytes` is on disk, `latency_ms` of one sample in one thread."""

    nodes: int
    parameters: int
    macs: int | Unmeasured
    bytes: int
    latency_ms: float | Unmeasured
    metric: Score | Unmeasured


@dataclass(frozen=True)
class Speedup:
    """Time before over time after, with the 10th and 90th percentile of the rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class StageFigures:
    """A pass that ran, with the reasons for what was not measured after it."""

    stage: Stage
    sqnr_db: float | Unmeasured
    metric: Score | Unmeasured


@dataclass(frozen=True)
class ArtifactFigures:
    """A written file and its latency."""

    artifact: Artifact
    latency_ms: float | Unmeasured


@dataclass(frozen=True)
class Summary:
    """Everything about a run. `runtime` is what the latencies were taken in."""

    model: str
    target: str
    pipeline: str
    before: Figures
    after: Figures
    speedup: Speedup | Unmeasured
    stages: list[StageFigures] = field(default_factory=list)
    artifacts: list[ArtifactFigures] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    runtime: str = "ONNX Runtime"

    def to_json(self) -> str:
        """The summary as indented JSON text, without NaN or Infinity, which are not JSON."""
        return to_json([self])

    def document(self) -> dict[str, Any]:
        """The summary as `schema.json` describes it."""
        speedup = self.speedup
        return {
            "model": self.model,
            "target": self.target,
            "pipeline": self.pipeline,
            "runtime": self.runtime,
            "before": _figures(self.before),
            "after": _figures(self.after),
            **_number("speedup", speedup.median if isinstance(speedup, Speedup) else speedup),
            **({"speedup_range": [speedup.low, speedup.high]} if isinstance(speedup, Speedup) else {}),
            "stages": [_stage(stage) for stage in self.stages],
            "artifacts": [_artifact(artifact) for artifact in self.artifacts],
            "remarks": [remark.to_json() for remark in self.remarks],
        }


def to_json(summaries: Sequence[Summary]) -> str:
    """The summaries of a run, one for each target: the first, with the artifacts of all, and the `others` in it."""
    first, *others = [summary.document() for summary in summaries]
    if others:
        first["artifacts"] = [artifact for document in (first, *others) for artifact in document["artifacts"]]
        first["others"] = others
    return json.dumps(first, indent=2, allow_nan=False) + "\n"


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "nodes": figures.nodes,
        "parameters": figures.parameters,
        **_number("macs", figures.macs),
        "bytes": figures.bytes,
        **_number("latency_ms", figures.latency_ms),
        **_score("metric", figures.metric),
    }


def _stage(figures: StageFigures) -> dict[str, Any]:
    stage, sqnr = figures.stage, figures.sqnr_db
    if sqnr == math.inf:
        sqnr = Unmeasured("infinite: the outputs are equal, there is no noise")
    return {
        "pass": stage.text,
        "changed": stage.changed,
        "seconds": stage.seconds,
        **_number("sqnr_db", sqnr),
        **_score("metric", figures.metric),
    }


def _artifact(figures: ArtifactFigures) -> dict[str, Any]:
    artifact = figures.artifact
    return {
        "path": str(artifact.path),
        "backend": artifact.backend,
        "bytes": artifact.bytes,
        "sha256": artifact.sha256,
        **_number("latency_ms", figures.latency_ms),
        "checks": [{"name": check.name, "result": check.result} for check in artifact.checks],
    }


def _number(key: str, value: float | Unmeasured) -> dict[str, Any]:
    if isinstance(value, Unmeasured):
        return {key: None, f"{key}_reason": value.reason}
    if not math.isfinite(value):
        return {key: None, f"{key}_reason": f"not a finite number: {value}"}
    return {key: value}


def _score(key: str, value: Score | Unmeasured) -> dict[str, Any]:
    if isinstance(value, Unmeasured):
        return {key: None, f"{key}_reason": value.reason}
    if not math.isfinite(value.value):
        return {key: None, f"{key}_reason": f"`{value.name}` is not a finite number: {value.value}"}
    return {key: {"name": value.name, "value": value.value, "split": value.split}}
