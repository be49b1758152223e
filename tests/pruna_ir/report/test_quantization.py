"""The report on a quantized model's layers."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import jsonschema
import pytest
from rich.console import Console

from pruna_ir.analysis.diagnosis.layer_errors import LayerError
from pruna_ir.analysis.diagnosis.quantized_layers import Layer
from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.report.quantization import SCHEMA, QuantizationReport, layers_table

CONV = LayerError(
    Layer("Conv", "conv", "c", "c", "c_dq"),
    alone=12.3,
    weights=44.0,
    activation=35.5,
    saturated=0.0,
    bulk=0.9,
    accumulated=30.0,
    cosine=0.9995,
    runtime=math.inf,
    runs_as="QLinearConv",
    share=0.8,
)
GEMM = LayerError(Layer("Gemm", "head", "y", "y", "y"), weights=Unmeasured("lost"), accumulated=-math.inf, cosine=0.0)
REPORT = QuantizationReport("m.onnx", "ort-cpu", "quantize", 16, 11.5, 11.25, [CONV, GEMM])


def validate(document: object) -> None:
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(document)


def test_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(SCHEMA.read_text()))


def test_document_is_what_the_schema_says() -> None:
    document = json.loads(REPORT.to_json())
    validate(document)
    conv, gemm = document["layers"]
    assert (conv["alone_sqnr_db"], conv["share"], conv["runs_as"]) == (12.3, 0.8, "QLinearConv")
    assert conv["runtime_sqnr_db"] is None and conv["runtime_sqnr_db_reason"] == "infinite: equal tensors"
    assert "grows" in conv["hint"] and gemm["hint"] is None and gemm["runs_as"] is None
    assert gemm["weights_sqnr_db_reason"] == "lost"
    assert gemm["accumulated_sqnr_db_reason"] == "minus infinity: nothing is left"
    assert document["outputs"] == {"simulated_sqnr_db": 11.5, "runtime_sqnr_db": 11.25}


def test_model_that_was_quantized_already_has_no_pipeline() -> None:
    document = json.loads(replace(REPORT, pipeline="", simulated=math.inf).to_json())
    validate(document)
    assert document["pipeline"] is None and document["outputs"]["simulated_sqnr_db"] is None


@pytest.mark.parametrize("missing", ["alone_sqnr_db_reason", "hint", "share"])
def test_schema_wants_every_key(missing: str) -> None:
    document = json.loads(REPORT.to_json())
    del document["layers"][1][missing]
    with pytest.raises(jsonschema.ValidationError):
        validate(document)


def test_table_shows_the_worst() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(layers_table(REPORT, 1))
    text = console.export_text()
    assert "Conv conv" in text and "80.0%" in text and "0.9995" in text and "equal" in text
    assert "head" not in text
