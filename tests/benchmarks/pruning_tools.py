"""The structured pruners that pruning_coverage.py compares: each halves the channels of a network of pruning_zoo.py.

A tool runs in a process of its own (`python pruning_tools.py TOOL NAME WEIGHTS IN OUT` prints the seconds), so that a
crash or a hang costs its row and nothing else. Torch-Pruning prunes the torch network, whose result is exported; the
two others read the ONNX file. None touches the classes.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pruning_zoo

OURS = "pruna-ir"
CLASSES = 1000
RATIO = 0.5
TIMEOUT = 180
MEMORY = 8 << 30  # bytes: Torch-Pruning's search for the groups of swin_t has no end


@dataclass(frozen=True)
class Request:
    """What to prune, and where to write it."""

    name: str
    weights: str
    source: Path
    out: Path


def _torch_pruning(request: Request) -> None:
    network, image = pruning_zoo.build(request.name, request.weights), pruning_zoo.sample(request.name)
    import torch_pruning as tp  # type: ignore[import-not-found, unused-ignore]  # imports torchvision, which build does

    heads = [module for module in network.modules() if _width(module) == CLASSES]
    importance = tp.importance.GroupMagnitudeImportance(p=2)
    tp.pruner.BasePruner(network, image, importance, pruning_ratio=RATIO, ignored_layers=heads).step()
    if hasattr(network, "hidden_dim"):  # vision transformers keep the number as an attribute, which it leaves
        network.hidden_dim = network.conv_proj.out_channels
    pruning_zoo.export(network, image, request.out)


def _width(module: Any) -> int | None:
    """Outputs of a linear layer or a convolution."""
    return getattr(module, "out_features", None) or getattr(module, "out_channels", None)


def _onnxsim(request: Request) -> None:
    import onnx
    import onnxsim

    simplified, _ = onnxsim.simplify(onnx.load(request.source))
    onnx.save(onnxsim.apply_structured_pruning(simplified, RATIO), request.out)


def _pruna_ir(request: Request) -> None:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.manager import PassManager

    model = Model.load(request.source)
    text = f"O1,prune-channels<ratio={RATIO};criterion=l2;recover=none;round-to=1>"
    PassManager.parse(text).run(model)
    model.save(request.out)


@dataclass(frozen=True)
class Tool:
    """A pruner: its package and the call."""

    package: str
    prune: Callable[[Request], None]

    def version(self) -> str:
        """The installed version, empty if there is none."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return ""


TOOLS = {
    OURS: Tool("pruna-ir", _pruna_ir),
    "Torch-Pruning": Tool("torch-pruning", _torch_pruning),
    "onnxsim": Tool("onnxsim", _onnxsim),
}


def run(tool: str, request: Request) -> tuple[float | None, str]:
    """Seconds that the tool took, or None and why it failed."""
    arguments = [request.name, request.weights, str(request.source), str(request.out)]
    command = [sys.executable, __file__, tool, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return None, f"not done after {TIMEOUT} s"
    if done.returncode != 0 or not request.out.exists():
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return None, lines[-1][:200]
    return float(done.stdout.split()[-1]), ""


def main() -> None:
    """Run one tool and print its seconds."""
    tool, name, weights, source, out = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    start = time.perf_counter()
    TOOLS[tool].prune(Request(name, weights, Path(source), Path(out)))
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
