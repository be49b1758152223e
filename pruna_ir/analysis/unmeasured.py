"""A figure that is not there, and why: figures are measured or missing, never guessed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unmeasured:
    """Stands where a figure would be; `reason` is shown in its place."""

    reason: str
