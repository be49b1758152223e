"""The TensorRT back end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pruna_ir.analysis.counting import bytes_on_disk
from pruna_ir.backends.tensorrt import build_log, proof, writer
from pruna_ir.backends.tensorrt.operators import plugins
from pruna_ir.backends.tensorrt.precision import Layer, layers
from pruna_ir.backends.tensorrt.profiles import Profile, Sizes, make_profiles, read_sizes, sizes_in
from pruna_ir.data import BoundDataset
from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.emission import Backend, Check, Emitted, Feeds
from pruna_ir.pipeline.options import option
from pruna_ir.remarks import Reason, Remark, RemarkKind
from pruna_ir.runtime.session import Session

if TYPE_CHECKING:
    from pruna_ir.model import Model

# Layers that are quantized for TensorRT, and that TensorRT for RTX, which the proof is made with, has no kernels for.
_FLOAT_IN_RTX = frozenset({"ConvTranspose"})
# An optimization of ONNX Runtime's takes a Relu away that stands before FP8, as if that had no negative numbers.
_WRONG = ("ReluQuantRewrite",)
# By which of its precisions a network is called.
_NARROWEST = ("int8", "fp8", "int4-weights", "int8-weights", "fp16", "bf16")
_OWN = frozenset({writer.NETWORK, writer.SCRIPT, writer.PRECISION, writer.PROFILES})


@dataclass(frozen=True)
class TensorrtBackend(Backend):
    """Write a bundle for TensorRT 10 and 11, and TensorRT for RTX: a network, and what builds and times its engine.

    Types stand in the network, as Q/DQ and Casts. It is refused before it is written if TensorRT's parser or builder
    would refuse it. Where tensorrt-rtx is installed an engine is built, and every layer that is quantized must run in
    8 bits in it.
    """

    name: ClassVar[str] = "tensorrt"
    suffix: ClassVar[str] = ""
    target: ClassVar[str] = "tensorrt"

    precision: Literal["graph", "fp32", "fp16", "int8", "int8+fp16", "fp8", "int4-weights"] = option(
        "graph", "types of the network: as the graph has them, or what it is made or must be"
    )
    cache: str = option("", "calibration cache of TensorRT, from which a float model is quantized")
    batch: tuple[int, ...] = option((1, 8, 32), "smallest, usual and largest number of samples, if it is open", low=1)
    profile: tuple[str, ...] = option((), "sizes of other open dimensions: NAME:MIN:OPT:MAX")
    compare: bool = option(True, "write the network in fp32 and fp16 as well, to be timed next to it")
    build: Literal["installed", "always", "never"] = option(
        "installed", "prove it by building an engine: where tensorrt-rtx is installed, or insist"
    )
    data: BoundDataset | None = None

    def __post_init__(self) -> None:
        self._batch()
        read_sizes(self.profile)

    @property
    def file_name(self) -> str:
        """A folder is called by what it is for."""
        return self.name

    def require_packages(self) -> None:
        """X001 if an engine is to be built and tensorrt-rtx is not installed."""
        if self.build == "always":
            proof.require_installed()

    def for_data(self, data: BoundDataset) -> TensorrtBackend:
        """With the data, for the sizes of open dimensions and the ranges of halves."""
        return replace(self, data=data)

    def size(self, path: Path) -> int:
        """Bytes of the network: what stands beside it makes and times its engine."""
        return bytes_on_disk(path / writer.NETWORK)

    def wrote(self, path: Path) -> bool:
        """Whether a folder is a bundle."""
        return path.is_dir() and all((path / name).is_file() for name in _OWN)

    def legalize(self, model: Model) -> Model:
        """A copy that TensorRT takes; raises Q001, E004 or E005 with all places where it would not."""
        from pruna_ir.backends.tensorrt.legality import require_legal
        from pruna_ir.backends.tensorrt.legalize import legalize

        legal = legalize(model, self.precision, self.cache, None if self.data is None else self.data.dataset)
        try:
            self._profiles(legal)
        except PrunaError as failure:
            require_legal(legal, failure.diagnostic.notes)
            raise
        require_legal(legal)
        return legal

    def emit(self, model: Model, path: Path) -> Sequence[Remark]:
        """Write the folder."""
        found = layers(model.graph)
        writer.write_bundle(path, self._networks(model, found), found, self._profiles(model))
        text = "TensorRT has {}, and TensorRT for RTX has not: no engine of it can be built for that, or here"
        return [Remark(RemarkKind.ANALYSIS, self.name, "", Reason(text, op)) for op in plugins(model.graph)]

    def check(self, emitted: Emitted, samples: Sequence[Feeds]) -> tuple[Check, ...]:
        """Run the written network next to the model, and build its engine; E002 if something is not as intended."""
        from pruna_ir.backends.tensorrt.check import compare

        network = emitted.path / writer.NETWORK
        found = [Check("rules", "TensorRT's parser and builder take every operator, type and Q/DQ of the network")]
        found.append(compare(emitted.reference, network, samples))
        if self.build == "never" or not proof.installed():
            why = "not asked for" if self.build == "never" else "tensorrt-rtx is not installed"
            return (*found, Check("engine", f"not built: {why}"))
        if missing := plugins(emitted.model.graph):
            return (*found, Check("engine", f"not built: TensorRT for RTX has no {' or '.join(missing)}"))
        return (*found, *self._proved(emitted, samples))

    def session(self, path: Path, threads: int = 1) -> Session:
        """The network in ONNX Runtime: it shows what the engine answers, not how fast."""
        return Session(path / writer.NETWORK, threads=threads, without=_WRONG)

    def _proved(self, emitted: Emitted, samples: Sequence[Feeds]) -> list[Check]:
        from pruna_ir.backends.tensorrt.check import on_gpu

        built = proof.build(emitted.path)
        outcome = build_log.compare(layers(emitted.model.graph), built.layers)
        ops = {layer.node: layer.op for layer in layers(emitted.model.graph)}
        bad = {node: why for node, why in outcome.missed.items() if ops[node] not in _FLOAT_IN_RTX}
        if bad:
            notes = [f"`{node}` ({ops[node]}): {why}" for node, why in bad.items()]
            message = f"{len(bad)} layers that are quantized do not run in 8 bits in the engine"
            raise error("E002", message, place=emitted.path.name, notes=notes)
        text = f"built by {built.version}, {built.bytes:,} bytes" + (f": {outcome}" if outcome.intended else "")
        return [Check("engine", text), *on_gpu(emitted, samples)]

    def _profiles(self, model: Model) -> dict[str, Profile]:
        seen = {} if self.data is None else sizes_in(self.data)
        return make_profiles(model.inputs(), self._batch(), read_sizes(self.profile), seen)

    def _batch(self) -> Sizes:
        sizes = Sizes(*self.batch) if len(self.batch) == 3 else None
        if sizes is None or not sizes.valid:
            help_text = "smallest, usual and largest, such as batch=[1,8,32]"
            raise error("P004", f"`batch` cannot be {list(self.batch)}", place=self.name, help=help_text)
        return sizes

    def _networks(self, model: Model, found: Sequence[Layer]) -> Mapping[str, Model]:
        """The network by its precision, and what it is to be compared with."""
        from pruna_ir.backends.tensorrt.floats import float_networks

        precisions = {layer.precision for layer in found}
        label = next((name for name in _NARROWEST if name in precisions), "fp32")
        others = float_networks(model) if self.compare else {}
        return {label: model, **{name: other for name, other in others.items() if name != label}}
