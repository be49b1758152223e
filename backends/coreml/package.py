"""From an ML program to a package on disk."""

from __future__ import annotations

import gc
import io
import json
import uuid
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pruna_ir.backends.coreml.interface import ENTRY, Interface, Port
from pruna_ir.backends.coreml.lowering import Lowered
from pruna_ir.backends.coreml.naming import restore_names
from pruna_ir.backends.coreml.sharing import share_constants
from pruna_ir.backends.coreml.sizes import Sizes, allowed
from pruna_ir.backends.coreml.toolbox import coremltools
from pruna_ir.backends.coreml.types import at_border
from pruna_ir.diagnostics import error
from pruna_ir.writing import unwritable

# Core ML Tools' passes that make a program one that Core ML loads. Those that optimize are left out: our own have
# done it, and theirs change the scales of quantized tensors.
_PASSES = (
    "common::update_output_dtypes",
    "common::const_elimination",
    "common::dedup_op_and_var_names",
    "common::add_fp16_cast",
    "common::update_output_dtypes",
    "common::const_elimination",
    "common::cast_optimization",
    "common::const_elimination",
    "common::const_deduplication",
    "common::dead_code_elimination",
    "common::dedup_op_and_var_names",
    "common::topological_reorder",
)
_SPECIFICATION = Path("Data", "com.apple.CoreML", "model.mlmodel")
_MANIFEST = "Manifest.json"
# Characters of a message of Core ML Tools that are shown.
_LONGEST = 300
# What the identifiers of a package's parts are derived from, so that the same package has the same bytes.
_NAMESPACE = uuid.UUID("a9c3a7be-6b0c-5d5d-8f4e-5d2f5b1d7f10")


@dataclass(frozen=True)
class Packaging:
    """What a package says beside its program: versions, sizes that are left open, labels of a class, texts."""

    ios: int = 17
    half: bool = True
    sizes: Mapping[str, Sizes] = field(default_factory=dict)
    labels: Sequence[str] = ()
    labelled: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)


def write(lowered: Lowered, path: Path, packaging: Packaging) -> None:
    """Write a package, whose name ends in .mlpackage.

    It computes in 16-bit floats (`half`) but for what is exact, or would not hold its scales.
    """
    ct = coremltools()
    classes, interface = None, lowered.interface
    if packaging.labelled:
        probabilities = next(port.file for port in interface.outputs if port.name == packaging.labelled)
        classes = ct.ClassifierConfig(list(packaging.labels), predicted_probabilities_output=probabilities)
        interface = interface.with_labels(packaging.labelled, packaging.labels)
    options = {
        "convert_to": "mlprogram",
        "inputs": _inputs(ct, lowered, packaging),
        "minimum_deployment_target": getattr(ct.target, f"iOS{packaging.ios}"),
        "compute_precision": _precision(ct, packaging.half, lowered.exact),
        "classifier_config": classes,
        "skip_model_load": True,
        "package_dir": str(path),
        "pass_pipeline": ct.PassPipeline(list(_PASSES), "pruna-ir"),
    }
    try:
        with _undisturbed():
            ct.convert(lowered.program, **options)
    except OSError as failure:
        raise unwritable(path, failure) from None
    except (RuntimeError, TypeError, ValueError) as failure:
        reason = " ".join(str(failure).split())
        raise error("E004", f"Core ML Tools cannot write the program: {reason[:_LONGEST]}", place=path.name) from None
    _describe(ct, path, interface, packaging)
    _identify(path)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep from users what a conversion says: progress bars, and warnings of folders that it leaves to be collected.

    It collects garbage in the end, which takes longer than all the rest where it looks at everything that is loaded.
    """
    gc.freeze()
    try:
        with redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        gc.unfreeze()


def _inputs(ct: Any, lowered: Lowered, packaging: Packaging) -> list[Any] | None:
    """What Core ML Tools are told of inputs; None where the program says it all."""
    ports = lowered.interface.inputs
    if not packaging.sizes and not lowered.images:
        return None
    return [_input(ct, port, lowered, packaging) for port in ports]


def _input(ct: Any, port: Port, lowered: Lowered, packaging: Packaging) -> Any:
    shape = allowed(port.shape or (1,), packaging.sizes, port.name)
    if port.name in lowered.images:
        color = lowered.images[port.name].color
        layout = getattr(ct.colorlayout, "GRAYSCALE" if color == "GRAY" else color)
        return ct.ImageType(name=port.file, shape=shape, color_layout=layout, channel_first=True)
    return ct.TensorType(name=port.file, shape=shape, dtype=at_border(np.dtype(port.dtype)).type)


def _describe(ct: Any, path: Path, interface: Interface, packaging: Packaging) -> None:
    """Put names and texts into the package, in a form that is the same for the same package."""
    place = path / _SPECIFICATION
    spec = ct.proto.Model_pb2.Model()
    spec.ParseFromString(place.read_bytes())
    restore_names(spec.mlProgram)
    share_constants(spec.mlProgram)
    metadata = spec.description.metadata
    metadata.userDefined[ENTRY] = interface.to_json()
    for key, text in packaging.texts.items():
        setattr(metadata, key, text)
    described = {port.file: port for port in (*interface.inputs, *interface.outputs)}
    for feature in (*spec.description.input, *spec.description.output):
        port = described.get(feature.name)
        if port is not None:
            dims = ", ".join(map(str, port.shape))
            feature.shortDescription = f"{port.name}: {port.dtype}[{dims}] in the ONNX model"
    place.write_bytes(spec.SerializeToString(deterministic=True))


def _identify(path: Path) -> None:
    """Give the parts of a package identifiers that follow from their names, not from chance."""
    place = path / _MANIFEST
    manifest = json.loads(place.read_text())
    entries = manifest["itemInfoEntries"]
    names = {key: str(uuid.uuid5(_NAMESPACE, entry["path"])) for key, entry in entries.items()}
    manifest["itemInfoEntries"] = {names[key]: entries[key] for key in sorted(entries, key=names.__getitem__)}
    manifest["rootModelIdentifier"] = names[manifest["rootModelIdentifier"]]
    place.write_text(json.dumps(manifest, indent=4, sort_keys=True))


def _precision(ct: Any, half: bool, exact: Collection[str]) -> Any:
    if not half:
        return ct.precision.FLOAT32
    return ct.transform.FP16ComputePrecision(op_selector=lambda op: op.name not in exact and _halved(op))


# What holds scales.
_PACKED = ("constexpr_affine_dequantize", "constexpr_blockwise_shift_scale")
_SCALED = ("quantize", "dequantize", *_PACKED)


def _halved(op: Any) -> bool:
    """Whether an operator computes in 16 bits: not if they would round its scale, or that of a weight it reads."""
    read = [var.op for var in op.get_flattened_inputs() if var.op is not None and var.op.op_type in _PACKED]
    return all(_fits(found) for found in (op, *read) if found.op_type in _SCALED)


def _fits(op: Any) -> bool:
    scale = np.asarray(op.inputs["scale"].val)
    with np.errstate(over="ignore"):
        return bool((scale.astype(np.float16).astype(np.float32) == scale).all())
