"""The JSON summary: what is written is what the schema says, and the schema refuses what is not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.emission import Artifact, Check
from pruna_ir.pipeline.manager import Stage
from pruna_ir.remarks import Reason, Remark, RemarkKind
from pruna_ir.report.summary import (
    SCHEMA,
    ArtifactFigures,
    Figures,
    Score,
    Speedup,
    StageFigures,
    Summary,
)

WHY = Unmeasured("no data was given")


def summary(measured: bool = True) -> Summary:
    score = Score("top1", 0.9, "test") if measured else WHY
    before = Figures(30, 1000, 5000 if measured else WHY, 4000, 1.5 if measured else WHY, score)
    after = Figures(40, 1010, 5000 if measured else WHY, 1100, 0.5 if measured else WHY, score)
    stages = [
        StageFigures(Stage("fuse", True, 0.1, {"fuse-conv-bn": 3}), math.inf if measured else WHY, score),
        StageFigures(Stage("quantize<ranges=mse>", True, 2.0), 31.5 if measured else WHY, score),
    ]
    artifact = Artifact(Path("out.onnx"), "onnx", 1100, "0" * 64, (Check("loads", "ONNX Runtime"),))
    return Summary(
        model="model.onnx",
        target="ort-cpu",
        pipeline="fuse,quantize",
        before=before,
        after=after,
        speedup=Speedup(3.0, 2.9, 3.1) if measured else WHY,
        stages=stages,
        artifacts=[ArtifactFigures(artifact, 0.5 if measured else WHY)],
        remarks=[Remark(RemarkKind.MISSED, "quantize", "conv1", Reason("`{}` is not a constant", "w"))],
    )


def schema() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(SCHEMA.read_text())
    return document


def test_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("measured", [True, False])
def test_written_form_is_valid(measured: bool) -> None:
    document = json.loads(summary(measured).to_json())
    jsonschema.validate(document, schema())
    assert document == summary(measured).document()


def test_reason_stands_beside_null_and_only_there() -> None:
    assert "latency_ms_reason" not in summary().document()["after"]
    missing = summary(measured=False).document()
    assert (missing["after"]["latency_ms"], missing["after"]["latency_ms_reason"]) == (None, WHY.reason)
    assert (missing["speedup"], missing["speedup_reason"]) == (None, WHY.reason)


def test_infinite_sqnr_is_null_with_a_reason() -> None:
    stage = summary().document()["stages"][0]
    assert stage["sqnr_db"] is None and "equal" in stage["sqnr_db_reason"]


def damage(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set a key, given as `after/bytes`, or delete it where the value is `...`."""
    *parents, key = path.split("/")

    def apply(document: dict[str, Any]) -> None:
        place: Any = document
        for parent in parents:
            place = place[int(parent)] if parent.isdigit() else place[parent]
        if value is ...:
            del place[key]
        else:
            place[key] = value

    return apply


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("after/latency_ms", None),
        ("after/macs_reason", "but there is a value"),
        ("after/bytes", ...),
        ("after/bytes", "many"),
        ("after/metric/split", ...),
        ("speedup", None),
        ("speedup_range", ...),
        ("speedup_range", [1.0]),
        ("stages/1/sqnr_db", None),
        ("stages/1/pass", ...),
        ("artifacts/0/sha256", "abc"),
        ("remarks/0/kind", "complaint"),
        ("extra", 1),
        ("target", ...),
    ],
)
def test_schema_refuses(path: str, value: Any) -> None:
    document = summary().document()
    damage(path, value)(document)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema())
