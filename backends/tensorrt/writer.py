"""The bundle: what is written beside the network, for who builds the engine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from pruna_ir.backends.tensorrt.precision import Layer
from pruna_ir.backends.tensorrt.profiles import Profile
from pruna_ir.model import Model

NETWORK, SCRIPT, PROFILES, PRECISION, README = (
    "model.onnx",
    "build_engine.py",
    "profiles.json",
    "precision.json",
    "README.md",
)
_FLAGS = {"low": "--minShapes", "usual": "--optShapes", "high": "--maxShapes"}


def write_bundle(
    folder: Path,
    networks: Mapping[str, Model],
    layers: Sequence[Layer],
    profiles: Mapping[str, Profile],
) -> None:
    """Write a folder with networks by their precision, the first of which is the one that is deployed.

    `layers` are the products of the first, `profiles` the shapes of inputs with open dimensions.
    """
    folder.mkdir()
    names = {}
    for index, (precision, model) in enumerate(networks.items()):
        names[precision] = f"compare/{precision}.onnx" if index else NETWORK
        (folder / names[precision]).parent.mkdir(exist_ok=True)
        model.save(folder / names[precision])
    described = {"format": 1, "networks": names, "layers": [layer.to_json() for layer in layers]}
    (folder / PRECISION).write_text(_entries(described), encoding="utf-8")
    found = {name: profile.to_json() for name, profile in profiles.items()}
    (folder / PROFILES).write_text(_entries(found), encoding="utf-8")
    shipped = files("pruna_ir.backends.tensorrt.bundle")
    (folder / SCRIPT).write_text(shipped.joinpath(SCRIPT).read_text(encoding="utf-8"), encoding="utf-8")
    text = Template(shipped.joinpath(README).read_text(encoding="utf-8"))
    (folder / README).write_text(
        text.substitute(
            precision=next(iter(names)),
            trtexec=trtexec(profiles),
            layers=_counted(layers),
            compared="" if len(names) == 1 else "; `compare/` the same in other precisions, to be timed next to it",
        ),
        encoding="utf-8",
    )


def trtexec(profiles: Mapping[str, Profile]) -> str:
    """The command that builds the same engine."""
    parts = [f"trtexec --onnx={NETWORK} --saveEngine=model.engine --stronglyTyped"]
    if profiles:
        parts += [
            f"{flag}=" + ",".join(f"{name}:{_by(getattr(profile, end))}" for name, profile in profiles.items())
            for end, flag in _FLAGS.items()
        ]
    parts.append("--timingCacheFile=timing.cache --profilingVerbosity=detailed --exportLayerInfo=layers.json")
    return " \\\n        ".join(parts)


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "1"


def _counted(layers: Sequence[Layer]) -> str:
    counts: dict[str, int] = {}
    for layer in layers:
        counts[layer.precision] = counts.get(layer.precision, 0) + 1
    return ", ".join(f"{count} in {precision}" for precision, count in counts.items()) or "none"


def _entries(value: Mapping[str, object]) -> str:
    """A JSON object with an entry a line, and an item a line where an entry is a list."""
    lines = (f" {json.dumps(name)}: {_items(entry)}" for name, entry in value.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _items(entry: object) -> str:
    if not isinstance(entry, list) or not entry:
        return json.dumps(entry)
    return "[\n" + ",\n".join(f"  {json.dumps(item)}" for item in entry) + "\n ]"
