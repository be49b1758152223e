"""Targets: tables of what runtimes accept and do fast."""

from pruna_ir.targets.target import OpRow, Output, Target

__all__ = ["OpRow", "Output", "Target"]
