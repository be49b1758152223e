"""A written network next to the model in memory, and its engine on a GPU where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pruna_ir.backends.tensorrt import proof
from pruna_ir.backends.tensorrt.bundle.build_engine import find_cuda
from pruna_ir.diagnostics import error
from pruna_ir.emission import Check, Emitted, Feeds
from pruna_ir.model.opset import relative_error
from pruna_ir.runtime.runner import Runner
from pruna_ir.runtime.session import Session

# Largest difference of the engine's outputs, relative to their range: it multiplies in TF32, and fuses.
_ON_GPU = 0.05


def compare(reference: Runner, network: Path, samples: Sequence[Feeds]) -> Check:
    """The outputs of the written network in ONNX Runtime, which must be the model's; E002 if they are not."""
    if not samples:
        return Check("outputs", "not compared: no inputs are known that the model runs on")
    written = Session(network, optimize=False)
    for feeds in samples:
        expected, found = reference.run(feeds), written.run(feeds)
        for name, wanted in expected.items():
            if not np.array_equal(wanted, found[name], equal_nan=wanted.dtype.kind == "f"):
                raise error("E002", f"the written network's output `{name}` differs from the model's", place=network)
    return Check("outputs", f"bit-equal to the model's in ONNX Runtime on {len(samples)} samples")


def on_gpu(emitted: Emitted, samples: Sequence[Feeds]) -> list[Check]:
    """The engine's outputs next to ONNX Runtime's, if this machine has a GPU that it runs on."""
    if not samples or find_cuda() is None:
        return []
    worst = 0.0
    for feeds in samples:
        found = proof.run(emitted.path, feeds)
        if isinstance(found, str):
            return [Check("gpu", f"not run: {found}")]
        worst = max(worst, relative_error(emitted.reference.run(feeds), found))
    if not worst <= _ON_GPU:
        raise error("E002", f"the engine's outputs differ by {worst:.1e} of their range", place=emitted.path.name)
    return [Check("gpu", f"largest difference {worst:.1e} of the outputs' range on {len(samples)} samples")]
