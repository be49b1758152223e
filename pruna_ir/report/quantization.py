"""The report on a quantized model's layers: a table for people, and the JSON that `quantization_schema.json` describes.

As in the summary of a run, a figure that could not be measured is null, and a key that ends in `_reason` says why.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruna_ir.analysis.diagnosis.damage_hints import hint
from pruna_ir.analysis.diagnosis.layer_errors import LayerError
from pruna_ir.analysis.unmeasured import Unmeasured

if TYPE_CHECKING:
    from rich.table import Table

SCHEMA = Path(__file__).with_name("quantization_schema.json")
# The figures of a layer: key in the JSON, attribute, title in the table (empty: not shown there).
_FIGURES = (
    ("alone_sqnr_db", "alone", "alone"),
    ("weights_sqnr_db", "weights", "weights"),
    ("activation_sqnr_db", "activation", "values"),
    ("accumulated_sqnr_db", "accumulated", "so far"),
    ("cosine", "cosine", "cosine"),
    ("runtime_sqnr_db", "runtime", "runtime"),
    ("saturated", "saturated", ""),
    ("bulk", "bulk", ""),
)


@dataclass(frozen=True)
class QuantizationReport:
    """Layers of a quantized model, the most damaging first.

    `pipeline` made the model from float, empty where it was quantized already; its float form is then what is left
    without Q/DQ. SQNR in dB of the outputs against float, as written (`simulated`) and as optimized (`runtime`).
    """

    model: str
    target: str
    pipeline: str
    samples: int
    simulated: float
    runtime: float | Unmeasured
    layers: Sequence[LayerError]

    def to_json(self) -> str:
        """The report as indented JSON text."""
        return json.dumps(self.document(), indent=2, allow_nan=False) + "\n"

    def document(self) -> dict[str, Any]:
        """The report as its schema describes it."""
        return {
            "model": self.model,
            "target": self.target,
            "pipeline": self.pipeline or None,
            "samples": self.samples,
            "outputs": {
                **_figure("simulated_sqnr_db", self.simulated),
                **_figure("runtime_sqnr_db", self.runtime),
            },
            "layers": [_layer(error) for error in self.layers],
        }


def _layer(error: LayerError) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for key, attribute, _ in _FIGURES:
        figures |= _figure(key, getattr(error, attribute))
    return {
        "node": error.layer.node,
        "op": error.layer.op,
        "tensor": error.layer.wanted,
        "share": error.share,
        **figures,
        "runs_as": error.runs_as or None,
        "runs_in_float": error.runs_in_float,
        "hint": hint(error) or None,
    }


def _figure(key: str, value: float | Unmeasured) -> dict[str, Any]:
    if isinstance(value, Unmeasured):
        return {key: None, f"{key}_reason": value.reason}
    if math.isfinite(value):
        return {key: value}
    return {key: None, f"{key}_reason": "infinite: equal tensors" if value > 0 else "minus infinity: nothing is left"}


def layers_table(report: QuantizationReport, most: int) -> Table:
    """The first `most` layers, in dB of SQNR; `share` is a layer's part of all noise that reaches the outputs."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("layer", overflow="ellipsis", no_wrap=True, max_width=44)
    table.add_column("share", justify="right", no_wrap=True)
    for _, _, title in _FIGURES:
        if title:
            table.add_column(title, justify="right", no_wrap=True)
    table.add_column("runs as", no_wrap=True)
    table.add_column("hint", overflow="fold")
    for error in report.layers[:most]:
        table.add_row(*_cells(error))
    return table


def _cells(error: LayerError) -> list[str]:
    name = error.layer.wanted if error.layer.op == "input" else error.layer.node
    figures = [_shown(getattr(error, attribute), attribute) for _, attribute, title in _FIGURES if title]
    return [f"{error.layer.op} {name}", f"{error.share:.1%}", *figures, error.runs_as, hint(error)]


def _shown(value: float | Unmeasured, attribute: str) -> str:
    if isinstance(value, Unmeasured):
        return "-"
    if value == math.inf:
        return "equal"
    return f"{value:.4f}" if attribute == "cosine" else f"{value:.1f}"
