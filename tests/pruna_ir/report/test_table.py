from __future__ import annotations

from dataclasses import replace
from io import StringIO

from rich.console import Console
from rich.table import Table

from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.pipeline.manager import Stage
from pruna_ir.remarks import Remark, RemarkKind
from pruna_ir.report.summary import Figures, Score, Speedup, StageFigures, Summary
from pruna_ir.report.table import figure_rows, figures_table, missing_figures, passes_table, remark_counts

WHY = Unmeasured("no data was given")
BEFORE = Figures(30, 1_000_000, 5_000_000, 4000, 1.5, Score("top1", 0.915, "test"))
AFTER = Figures(30, 1_000_100, 5_000_000, 1000, 0.5, Score("top1", 0.913, "test"))
QUANTIZED = StageFigures(Stage("quantize", True, 2.0, {"integer kernels": 9}), 31.53, Score("top1", 0.9, "calibration"))
SUMMARY = Summary("m.onnx", "ort-cpu", "quantize", BEFORE, AFTER, Speedup(3.0, 2.9, 3.1), [QUANTIZED])


def printed(table: Table) -> str:
    console = Console(file=StringIO(), width=80)
    console.print(table)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_rows() -> None:
    assert list(figure_rows(SUMMARY)) == [
        ("nodes", "30", "30", "same"),
        ("parameters", "1,000,000", "1,000,100", "+100"),
        ("MACs", "5,000,000", "5,000,000", "same"),
        ("bytes on disk", "4,000", "1,000", "0.250x"),
        ("latency, 1 thread", "1.5 ms", "0.5 ms", "3.00x speed (2.90 to 3.10)"),
        ("top1 (test)", "0.9150", "0.9130", "-0.0020"),
    ]


def test_missing_figures_are_dashes_and_each_reason_is_given_once() -> None:
    before, after = (replace(figures, macs=WHY, latency_ms=WHY, metric=WHY) for figures in (BEFORE, AFTER))
    summary = replace(SUMMARY, before=before, after=after, speedup=WHY)
    rows = list(figure_rows(summary))
    assert rows[2] == ("MACs", "-", "-", "") and rows[4][1:] == ("-", "-", "") and rows[5] == ("metric", "-", "-", "")
    assert missing_figures(summary) == [f"{name} not measured: {WHY.reason}" for name in ("MACs", "latency", "metric")]
    assert missing_figures(SUMMARY) == []


def test_fits_80_columns() -> None:
    text = printed(figures_table(SUMMARY))
    assert "3.00x speed (2.90 to 3.10)" in text and "…" not in text


def test_passes_table_has_drift_only_where_it_was_measured() -> None:
    assert "31.5 dB" in printed(passes_table(SUMMARY)) and "0.9000" in printed(passes_table(SUMMARY))
    without = replace(SUMMARY, stages=[StageFigures(Stage("fuse", False, 0.1), WHY, WHY)])
    assert "SQNR" not in printed(passes_table(without))


def test_passes_that_changed_nothing_are_one_row() -> None:
    idle = [StageFigures(Stage(name, False, 0.25), WHY, WHY) for name in ("fuse", "dead-code")]
    lines = [
        line.split()
        for line in printed(passes_table(replace(SUMMARY, stages=[idle[0], QUANTIZED, idle[1]]))).splitlines()
    ]
    assert ["quantize", "9", "integer", "kernels", "2.00", "31.5", "dB", "0.9000"] in lines
    assert ["2", "passes", "nothing", "0.50"] in lines
    assert not any("fuse" in line for line in lines)


def test_remark_counts() -> None:
    remarks = [
        Remark(kind, "fuse", "", "because") for kind in (RemarkKind.MISSED, RemarkKind.PASSED, RemarkKind.MISSED)
    ]
    assert remark_counts(replace(SUMMARY, remarks=remarks)) == "2 missed, 1 passed"
