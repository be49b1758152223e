"""Exports torchvision's architectures with both of torch's ONNX exporters, for bench_simplifiers.py.

    python tests/benchmarks/export_zoo.py FOLDER [--models resnet18,vgg16] [--exporters torchscript,dynamo]

Weights are random, and so are the statistics and affine parameters of every normalization: one that is folded wrongly
shows. Writes FOLDER/<architecture>.<exporter>.onnx, leaves alone what is there, and ends with a list of what an
exporter refused. Everything takes 4 GB of disk for each exporter; requirements.txt beside this file is the environment.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import math
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchvision_ops import import_torchvision

IMAGE = (1, 3, 224, 224)
NO_BACKBONE = {"weights_backbone": None}
# Untrained detectors score near the middle of so many classes.
DETECTOR = NO_BACKBONE | {"num_classes": 21}


@dataclass(frozen=True)
class Architecture:
    """Where a network is built, with what arguments, and the shapes of its inputs.

    `listed` networks take a list of images without a batch dimension.
    """

    module: str = "torchvision.models"
    shapes: tuple[tuple[int, ...], ...] = (IMAGE,)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    listed: bool = False


def _segmentation() -> Architecture:
    return Architecture("torchvision.models.segmentation", ((1, 3, 160, 160),), NO_BACKBONE | {"aux_loss": False})


def _detection(size: int, **arguments: Any) -> Architecture:
    return Architecture("torchvision.models.detection", ((3, size, size),), DETECTOR | arguments, listed=True)


PLAIN = Architecture()
ZOO = {
    "alexnet": PLAIN,
    "vgg11_bn": PLAIN,
    "vgg16": PLAIN,
    "resnet18": PLAIN,
    "resnet50": PLAIN,
    "resnext50_32x4d": PLAIN,
    "wide_resnet50_2": Architecture(shapes=((1, 3, 128, 128),)),
    "squeezenet1_0": PLAIN,
    "squeezenet1_1": PLAIN,
    "densenet121": PLAIN,
    # As the trained weights set it: the input is normalized again, channel by channel.
    "inception_v3": Architecture(shapes=((1, 3, 299, 299),), arguments={"transform_input": True, "init_weights": True}),
    "googlenet": Architecture(arguments={"transform_input": True, "init_weights": True}),
    "mobilenet_v2": PLAIN,
    "mobilenet_v3_small": PLAIN,
    "mobilenet_v3_large": PLAIN,
    "mnasnet0_5": PLAIN,
    "mnasnet1_0": PLAIN,
    "shufflenet_v2_x0_5": PLAIN,
    "shufflenet_v2_x1_0": PLAIN,
    "efficientnet_b0": PLAIN,
    "efficientnet_v2_s": PLAIN,
    "regnet_y_400mf": PLAIN,
    "regnet_x_400mf": PLAIN,
    "convnext_tiny": PLAIN,
    "vit_b_32": Architecture(shapes=((1, 3, 96, 96),), arguments={"image_size": 96}),
    "swin_t": PLAIN,
    "swin_v2_t": Architecture(shapes=((1, 3, 256, 256),)),
    "maxvit_t": PLAIN,
    "fcn_resnet50": _segmentation(),
    "deeplabv3_mobilenet_v3_large": _segmentation(),
    "lraspp_mobilenet_v3_large": Architecture("torchvision.models.segmentation", ((1, 3, 160, 160),), NO_BACKBONE),
    "ssdlite320_mobilenet_v3_large": _detection(320),
    "retinanet_resnet50_fpn": _detection(224, min_size=224, max_size=224, score_thresh=0.01),
    "fasterrcnn_mobilenet_v3_large_320_fpn": _detection(320, rpn_score_thresh=0.0),
    "r3d_18": Architecture("torchvision.models.video", ((1, 3, 8, 64, 64),)),
    "raft_small": Architecture("torchvision.models.optical_flow", ((1, 3, 128, 128),) * 2),
}
# Arguments of torch.onnx.export. The opset of the second is the exporter's own choice. The third leaves the graph as
# it was traced, batch norms and all, with an open batch dimension.
EXPORTERS: dict[str, dict[str, Any]] = {
    "torchscript": {"dynamo": False, "opset_version": 17},
    "dynamo": {"dynamo": True, "external_data": False},
    "untouched": {"dynamo": False, "opset_version": 17, "do_constant_folding": False},
}


def build(name: str) -> tuple[Any, tuple[Any, ...]]:
    """The network, in evaluation mode with random parameters and statistics, and the arguments to trace it with."""
    import torch  # type: ignore[import-not-found, unused-ignore]

    import_torchvision()
    architecture = ZOO[name]
    function = getattr(importlib.import_module(architecture.module), name)
    network = function(weights=None, **architecture.arguments).eval()
    samples = [[torch.randn(shape) for shape in architecture.shapes] for _ in range(2)]
    # Statistics need two samples: one pixel has no variance.
    if architecture.listed:
        randomize(network, ([*samples[0], *samples[1]],))
        return network, (samples[0],)
    randomize(network, tuple(torch.cat(pair) for pair in zip(*samples, strict=True)))
    return network, tuple(samples[0])


def randomize(network: Any, arguments: tuple[Any, ...]) -> None:
    """Give every parameter that is constant (scales of one, biases of zero) noise, and batch norms statistics.

    Those are what `arguments` have there, disturbed so that variances after a norm stay one on average (the mean of
    1 / v for v from 0.5 to 1.5 is log 3): the values neither vanish nor explode with depth, which amplifies rounding.
    """
    import torch  # type: ignore[import-not-found, unused-ignore]

    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() > 1 and parameter.min() == parameter.max():
                parameter += 0.1 * torch.randn_like(parameter)
        norms = [module for module in network.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        if norms:
            network(*arguments)
        frozen = [module for module in network.modules() if type(module).__name__ == "FrozenBatchNorm2d"]
        for norm in norms + frozen:
            norm.eval()
            norm.running_mean += 0.1 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean)
            norm.running_var *= math.log(3) * (0.5 + torch.rand_like(norm.running_var))
            norm.running_var += 1e-3


def export(name: str, exporter: str, path: Path) -> None:
    """Write one network with one exporter; the file appears whole or not at all."""
    import torch  # type: ignore[import-not-found, unused-ignore]

    torch.manual_seed(0)
    torch.backends.mha.set_fastpath_enabled(False)  # attention as one operator of torch's own has no ONNX
    network, arguments = build(name)
    partial = path.with_suffix(".partial")
    # The exporters print graphs and, while tracing, a warning for every Python number.
    with warnings.catch_warnings(), torch.no_grad(), without_prints():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, arguments, str(partial), verbose=False, **options(name, exporter))
    partial.rename(path)


def options(name: str, exporter: str) -> dict[str, Any]:
    """Further arguments of torch.onnx.export."""
    import torch

    chosen = dict(EXPORTERS[exporter])
    if exporter == "untouched":
        names = [f"x{index}" for index in range(len(ZOO[name].shapes))]
        chosen |= {"training": torch.onnx.TrainingMode.PRESERVE, "input_names": names}
        if not ZOO[name].listed:
            chosen["dynamic_axes"] = {key: {0: "batch"} for key in names}
    return chosen


@contextmanager
def without_prints() -> Iterator[None]:
    """Drop what native code prints too: it writes to the descriptor."""
    sys.stdout.flush()
    kept = os.dup(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _reason(failure: BaseException) -> str:
    """The first line of the first cause: exporters wrap it in advice."""
    while (cause := failure.__cause__ or failure.__context__) is not None:
        failure = cause
    lines = str(failure).strip().splitlines() or [""]
    return f"{type(failure).__name__}: {lines[0][:160]}"


def main() -> None:
    """Export what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", default=",".join(ZOO), help="architectures, separated by commas")
    parser.add_argument("--exporters", default=",".join(EXPORTERS), help="of them, separated by commas")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    refused = []
    for name in arguments.models.split(","):
        for exporter in arguments.exporters.split(","):
            path = arguments.folder / f"{name}.{exporter}.onnx"
            if path.exists():
                continue
            start = time.perf_counter()
            try:
                export(name, exporter, path)
            except Exception as failure:  # whatever an exporter raises is its result
                refused.append(f"{name} ({exporter}): {_reason(failure)}")
                print(f"refused: {refused[-1]}", flush=True)
            else:
                size = path.stat().st_size / 2**20
                print(f"{path.name}: {size:.1f} MiB, {time.perf_counter() - start:.0f} s", flush=True)
            gc.collect()
    print(f"{len(refused)} refused", *refused, sep="\n  ")


if __name__ == "__main__":
    main()
