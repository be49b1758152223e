"""Inputs that are images: Core ML gives pixels, and the program makes of them what the model was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pruna_ir.data.preprocess import Preprocessing
from pruna_ir.diagnostics import error
from pruna_ir.model.spec import TensorSpec

_CHANNELS = {"RGB": 3, "BGR": 3, "GRAY": 1}


@dataclass(frozen=True)
class Pixels:
    """What an image input is made of: pixels from 0 to 255 in channels of `color`.

    The model's values are pixel * scale + bias, with a number for each channel.
    """

    color: str
    scale: tuple[float, ...]
    bias: tuple[float, ...]

    def factors(self) -> tuple[np.ndarray, np.ndarray]:
        """Scale and bias to combine with a batch of images, channels first."""
        return tuple(np.array(values, np.float32).reshape(1, -1, 1, 1) for values in (self.scale, self.bias))  # type: ignore[return-value]


def of_preprocessing(preprocessing: Preprocessing) -> Pixels:
    """The pixels of data: (x scale - mean) / std."""
    color = preprocessing.color or ("GRAY" if len(preprocessing.mean) == 1 and len(preprocessing.std) == 1 else "RGB")
    channels = _CHANNELS[color]
    mean, std = (np.broadcast_to(np.array(values), (channels,)) for values in (preprocessing.mean, preprocessing.std))
    scale = np.broadcast_to(preprocessing.scale / std, (channels,))
    return Pixels(color, tuple(map(float, scale)), tuple(map(float, -mean / std)))


def explicit(color: str, scale: tuple[float, ...], bias: tuple[float, ...], place: str) -> Pixels:
    """Pixels with scale and bias as somebody gave them: one number, or one for each channel; P004."""
    channels = _CHANNELS[color]
    for name, values in (("scale", scale), ("bias", bias)):
        if len(values) not in (1, channels):
            raise error("P004", f"`{name}` has {len(values)} numbers, and {color} has {channels} channels", place=place)
    full = [values * channels if len(values) == 1 else values for values in (scale, bias)]
    return Pixels(color, full[0], full[1])


def image_inputs(inputs: tuple[TensorSpec, ...], pixels: Pixels) -> dict[str, Pixels]:
    """Which inputs take images: floats [1, channels, height, width]; D003 if there is none."""
    channels = _CHANNELS[pixels.color]
    found = {
        spec.name: pixels
        for spec in inputs
        if len(spec.shape) == 4 and spec.shape[:2] == (1, channels) and spec.dtype.name == "float32"
    }
    if not found:
        shapes = ", ".join(f"`{spec}`" for spec in inputs)
        message = f"no input takes one image of {channels} channels, channels first: {shapes}"
        raise error("D003", message, help="leave `image` out, or give the color that the model takes")
    return found
