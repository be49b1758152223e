"""Small networks for tests of the axis rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from onnx_text import model_from

from pruna_ir.analysis.axes import AxisAnalysis
from pruna_ir.model import Model

CONVS = "g (float[b,3,6,6] x) => (float[b,5,6,6] y)"
TOKENS = "g (float[b,7,6] x) => (float[b,7,5] y)"


def net(body: str, *weights: Mapping[str, Any], ends: str = CONVS, opset: int = 17, **more: Any) -> Model:
    """A model of the given nodes, with those of the weights that they read."""
    stored = {name: value for each in (*weights, more) for name, value in each.items()}
    return model_from(f"{ends} {{ {body} }}", opset=opset, **{word: stored[word] for word in _words(body, stored)})


def _words(body: str, stored: Mapping[str, Any]) -> list[str]:
    return [word for word in dict.fromkeys(re.findall(r"\w+", body)) if word in stored]


def sizes(analysis: AxisAnalysis) -> dict[str, int]:
    """The sizes of the free groups by name, in graph order."""
    return {group.name: group.size for group in analysis.free}
