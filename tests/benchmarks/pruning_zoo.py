"""Exports the torchvision architectures that pruning_coverage.py prunes, in two sets of weights.

    python tests/benchmarks/pruning_zoo.py FOLDER [--models resnet18,vgg16_bn]

`random` has random weights, normalization statistics and affine parameters, so that no two tensors are equal; `default`
is what a network starts its training with: biases of zero and scales of one, which exporters and simplifiers store once
for all that are equal. Writes FOLDER/<architecture>.<weights>.onnx (3.5 GB together) and leaves alone what is there.
requirements.txt beside this file is the environment.
"""

from __future__ import annotations

import argparse
import importlib
import time
import warnings
from pathlib import Path
from typing import Any

from export_zoo import PLAIN, Architecture, randomize, without_prints
from torchvision_ops import import_torchvision

SEED = 0
OPSET = 17
WEIGHTS = ("random", "default")
ARCHITECTURES = {
    "resnet18": PLAIN,
    "resnet50": PLAIN,
    "vgg16_bn": PLAIN,
    "mobilenet_v2": PLAIN,
    "mobilenet_v3_large": PLAIN,
    "efficientnet_b0": PLAIN,
    "mnasnet1_0": PLAIN,
    "densenet121": PLAIN,
    "googlenet": Architecture(arguments={"init_weights": True}),
    "inception_v3": Architecture(shapes=((1, 3, 299, 299),), arguments={"init_weights": True}),
    "shufflenet_v2_x1_0": PLAIN,
    "resnext50_32x4d": PLAIN,
    "regnet_y_800mf": PLAIN,
    "squeezenet1_1": PLAIN,
    "convnext_tiny": PLAIN,
    "vit_b_16": PLAIN,
    "swin_t": PLAIN,
}


def build(name: str, weights: str) -> Any:
    """The network, in evaluation mode; the same one in every process."""
    import torch  # type: ignore[import-not-found, unused-ignore]

    import_torchvision()
    torch.manual_seed(SEED)
    torch.backends.mha.set_fastpath_enabled(False)  # attention as one operator of torch's own has no ONNX
    architecture = ARCHITECTURES[name]
    function = getattr(importlib.import_module(architecture.module), name)
    network = function(weights=None, **architecture.arguments).eval()
    if weights == "random":
        randomize(network, (torch.randn((2, *architecture.shapes[0][1:])),))
    return network


def sample(name: str) -> Any:
    """An input to trace the network with."""
    import torch

    return torch.randn(ARCHITECTURES[name].shapes[0], generator=torch.Generator().manual_seed(SEED))


def export(network: Any, image: Any, path: Path) -> None:
    """Write the network as ONNX, its batch norms folded into convolutions; the file appears whole or not at all."""
    import torch

    partial = path.with_suffix(".partial")
    with warnings.catch_warnings(), torch.no_grad(), without_prints():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (image,), str(partial), dynamo=False, opset_version=OPSET, verbose=False)
    partial.rename(path)


def file_name(name: str, weights: str) -> str:
    """How an export is called."""
    return f"{name}.{weights}.onnx"


def main() -> None:
    """Export what is asked for and not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", default=",".join(ARCHITECTURES), help="architectures, separated by commas")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.models.split(","):
        for weights in WEIGHTS:
            path = arguments.folder / file_name(name, weights)
            if path.exists():
                continue
            start = time.perf_counter()
            export(build(name, weights), sample(name), path)
            print(
                f"{path.name}: {path.stat().st_size / 2**20:.1f} MiB, {time.perf_counter() - start:.0f} s", flush=True
            )


if __name__ == "__main__":
    main()
