"""Bring an image to the size that a model wants, and map positions back to the original image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MODES = ("letterbox", "plain", "center-crop")
ANCHORS = ("top-left", "center")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


@dataclass(frozen=True)
class Geometry:
    """Where the original image lies in the resized one.

    `width` and `height` are those of the scaled image, before padding or cropping. A point (x, y) of the original
    lands at (x * scale_x + left, y * scale_y + top); `left` and `top` are negative where a crop cuts.
    """

    width: int
    height: int
    scale_x: float
    scale_y: float
    left: int
    top: int


@dataclass(frozen=True)
class Resize:
    """How images get the model's size.

    `letterbox` keeps the aspect ratio and pads with `fill`; `plain` stretches; `center-crop` scales the short side
    to `short_side` and cuts the middle (torchvision's Resize and CenterCrop). `size` is (height, width) in pixels.
    Pillow scales: its filters widen when they shrink, so that nothing aliases.
    """

    mode: str
    size: tuple[int, int]
    anchor: str = "center"
    fill: int = 114
    interpolation: str = "bilinear"
    short_side: int | None = None

    def geometry(self, width: int, height: int) -> Geometry:
        """The placement of an image of `width` x `height` pixels."""
        out_h, out_w = self.size
        if self.mode == "plain":
            return Geometry(out_w, out_h, out_w / width, out_h / height, 0, 0)
        if self.mode == "letterbox":
            ratio = min(out_w / width, out_h / height)
            # Truncation, as in YOLOX's own preprocessing.
            new_w, new_h = max(1, int(width * ratio)), max(1, int(height * ratio))
            centred = self.anchor == "center"
            left, top = ((out_w - new_w) // 2, (out_h - new_h) // 2) if centred else (0, 0)
            return Geometry(new_w, new_h, ratio, ratio, left, top)
        short = self.short_side or max(self.size)
        if width <= height:
            new_w, new_h = short, int(short * height / width)
        else:
            new_w, new_h = int(short * width / height), short
        left, top = -round((new_w - out_w) / 2), -round((new_h - out_h) / 2)
        return Geometry(new_w, new_h, new_w / width, new_h / height, left, top)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Resize a uint8 image [height, width, channels]; the result has the wanted size."""
        place = self.geometry(image.shape[1], image.shape[0])
        scaled = _scale(image, place.width, place.height, self.interpolation)
        out_h, out_w = self.size
        if self.mode == "plain":
            return scaled
        if self.mode == "center-crop":
            return scaled[-place.top : -place.top + out_h, -place.left : -place.left + out_w]
        out = np.full((out_h, out_w, image.shape[2]), self.fill, np.uint8)
        out[place.top : place.top + place.height, place.left : place.left + place.width] = scaled
        return out


def _scale(image: np.ndarray, width: int, height: int, interpolation: str) -> np.ndarray:
    from pruna_ir.data.images import pillow

    if (image.shape[1], image.shape[0]) == (width, height):
        return image
    pil = pillow()
    grey = image.shape[2] == 1
    picture = pil.fromarray(image[:, :, 0] if grey else image)
    scaled = np.asarray(picture.resize((width, height), getattr(pil.Resampling, interpolation.upper())))
    return scaled[:, :, None] if grey else scaled
