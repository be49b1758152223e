"""The model and data that `pruna-opt --demo` optimizes; README.md beside this file says where they come from."""

from __future__ import annotations

from pathlib import Path

MODEL = Path(__file__).with_name("digits.onnx")
"""A trained residual network, image [batch, 1, 8, 8] to logits [batch, 10], BatchNormalization not yet fused."""

DATA = Path(__file__).with_name("digits.yaml")
"""Its dataset: splits `calibration`, `train` and `test`, metric top1."""
