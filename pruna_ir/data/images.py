"""Samples in a folder of images, decoded when their turn comes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pruna_ir.data.labels import Annotated
from pruna_ir.data.sources import UNNAMED, Sample, Source
from pruna_ir.diagnostics import error

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def pillow() -> Any:
    """Pillow's `PIL.Image` module; X001 when it is not installed."""
    try:
        from PIL import Image
    except ImportError as failure:
        help_text = "pip install 'pruna-ir[vision]'"
        raise error("X001", "reading images needs the package `pillow`", help=help_text) from failure
    return Image


def decode(path: Path) -> np.ndarray:
    """The image as uint8 RGB [height, width, 3]; D001 when it cannot be read."""
    pil = pillow()
    try:
        with pil.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, pil.DecompressionBombError) as failure:
        raise error("D001", f"the image cannot be read: {failure}", place=path) from failure


@dataclass(frozen=True)
class ImageSource(Source):
    """Images in the given order, with their labels (numbers, or `Annotated` boxes)."""

    paths: tuple[Path, ...]
    labels: tuple[Any, ...] | None = None

    @property
    def labelled(self) -> bool:
        """Whether there are labels."""
        return self.labels is not None

    @property
    def size(self) -> int | None:
        """The number of images."""
        return len(self.paths)

    def samples(self, start: int = 0) -> Iterator[Sample]:
        """Decoded images, uint8 RGB."""
        for index in range(start, len(self.paths)):
            path = self.paths[index]
            image = decode(path)
            label = self.labels[index] if self.labels else None
            if isinstance(label, Annotated) and image.shape[:2] != (label.height, label.width):
                annotated, found = f"{label.width}x{label.height}", f"{image.shape[1]}x{image.shape[0]}"
                message = f"the annotations are for an image of {annotated} pixels; it has {found}"
                raise error("D007", message, place=path)
            yield Sample({UNNAMED: image}, label)
