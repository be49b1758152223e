"""Optimize a network in the script that exports it: no file in between, arrays as calibration data.

    python examples/embed_in_export_script.py [OUT.onnx]

Needs torch and, for its exporter, onnxscript: pip install 'pruna-ir[torch]'.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

import pruna_ir as pi


class SmallCnn(nn.Module):
    """Images [n, 3, 32, 32] to 10 class scores."""

    def __init__(self) -> None:
        super().__init__()
        channels = (3, 32, 64, 64)
        blocks = [
            nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in pairwise(channels)
        ]
        self.features = nn.Sequential(*blocks)
        self.head = nn.Linear(channels[-1], 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Class scores [n, 10]."""
        return self.head(self.features(image).mean((2, 3)))


def export(network: nn.Module, example: torch.Tensor) -> onnx.ModelProto:
    """The network as ONNX, in memory."""
    batch = {0: torch.export.Dim("batch")}
    program = torch.onnx.export(
        network.eval(), (example,), input_names=["image"], dynamic_shapes=(batch,), dynamo=True, verbose=False
    )
    assert program is not None
    return program.model_proto


def main(out: Path) -> None:
    """Export, simplify and fuse exactly, then quantize what is worth it, and write the file."""
    torch.manual_seed(0)
    network = SmallCnn()
    # Your own images here: a few hundred, preprocessed as in training.
    images = np.random.default_rng(0).uniform(0, 1, (128, 3, 32, 32)).astype(np.float32)

    model = pi.load(export(network, torch.from_numpy(images[:2])))
    exact = pi.PassManager.parse("simplify,fuse").run(model)
    print("exact passes that changed the model:", *[stage.text for stage in exact.stages if stage.changed] or ["none"])

    quantized = pi.PassManager.parse("quantize").run(model, data=images)
    for remark in quantized.remarks:
        print(remark)

    artifact = pi.emit(model, "onnx", out, data=images)
    print(f"wrote {artifact.path}: {artifact.bytes:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("small.int8.onnx"))
