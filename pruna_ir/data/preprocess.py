"""From a stored image to what the model wants to be fed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pruna_ir.data.resize import Resize
from pruna_ir.diagnostics import error
from pruna_ir.model.spec import TensorSpec

LAYOUTS = ("NCHW", "NHWC")
COLORS = ("RGB", "BGR", "GRAY")

# ITU-R 601-2 luma, as Pillow's conversion to "L".
_LUMA = np.array([299, 587, 114], np.float32) / np.float32(1000)


@dataclass(frozen=True)
class Preprocessing:
    """Resize, colour order, `x * scale`, `(x - mean) / std`, layout: in this order.

    `mean` and `std` have one value, or one a channel in the order of `color`. Stored images are RGB (or one channel),
    [height, width, channels] or [height, width]. `color` None keeps the channels as they are. Without any arithmetic
    the result stays uint8; otherwise it is float32.
    """

    layout: str = "NCHW"
    color: str | None = None
    resize: Resize | None = None
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @staticmethod
    def for_model(spec: TensorSpec) -> Preprocessing:
        """What an image needs at least to have the shape of the input `spec`: no arithmetic, pixels stay 0 to 255.

        D003 when the input is not an image batch with 1 or 3 channels.
        """
        dims = spec.shape
        if len(dims) == 4 and dims[1] in (1, 3):
            layout, (channels, height, width) = "NCHW", dims[1:]
        elif len(dims) == 4 and dims[3] in (1, 3):
            layout, (height, width, channels) = "NHWC", dims[1:]
        else:
            raise error("D003", f"the input `{spec}` does not take images of 1 or 3 channels", place=spec.name)
        resize = Resize("plain", (height, width)) if isinstance(height, int) and isinstance(width, int) else None
        return Preprocessing(layout, "GRAY" if channels == 1 else "RGB", resize)

    def arrange(self, image: np.ndarray) -> np.ndarray:
        """Resize and order the colours: [height, width(, channels)] to [height, width, channels]; D003 if neither."""
        if image.ndim == 2:
            image = image[:, :, None]
        if image.ndim != 3:
            raise error(
                "D003",
                f"`input` preprocesses images [height, width, channels]; this sample has shape {list(image.shape)}",
                help="remove `input` if the samples are ready to feed",
            )
        if self.resize is not None:
            if image.dtype != np.uint8:
                raise error("D003", f"`resize` works on uint8 images; this sample is {image.dtype}")
            image = self.resize(image)
        return _to_color(image, self.color)

    def normalize(self, image: np.ndarray) -> np.ndarray:
        """Arithmetic and layout: [height, width, channels] to the layout without its batch axis."""
        plain = self.scale == 1.0 and not any(self.mean) and all(value == 1.0 for value in self.std)
        if not plain:
            self._check_channels(image.shape[2])
        if self.layout == "NCHW":
            image = image.transpose(2, 0, 1)
        if plain:
            return np.ascontiguousarray(image)
        out = np.array(image, np.float32, order="C")
        per_channel = (-1, 1, 1) if self.layout == "NCHW" else (-1,)
        if self.scale != 1.0:
            out *= np.float32(self.scale)
        out -= np.array(self.mean, np.float32).reshape(per_channel)
        out /= np.array(self.std, np.float32).reshape(per_channel)
        return out

    def _check_channels(self, channels: int) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                message = f"`{name}` has {len(values)} values, the images have {channels} channels"
                raise error("D003", message, help="give one value, or one a channel")


def _to_color(image: np.ndarray, color: str | None) -> np.ndarray:
    channels = image.shape[2]
    if color is None:
        return image
    if color == "GRAY":
        return image if channels == 1 else _grey(image)
    if channels == 1:
        return np.repeat(image, 3, axis=2)
    return image[:, :, ::-1] if color == "BGR" else image


def _grey(image: np.ndarray) -> np.ndarray:
    grey = (image[:, :, :3] @ _LUMA)[:, :, None]
    rounded = np.rint(grey) if image.dtype.kind in "ui" else grey
    return np.asarray(rounded, image.dtype)
