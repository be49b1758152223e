"""Targets: tables of what runtimes accept and do fast."""

from pruna_ir.targets.target import Company, Fixed, OpRow, Output, Scales, Target, Widths

__all__ = ["Company", "Fixed", "OpRow", "Output", "Scales", "Target", "Widths"]
