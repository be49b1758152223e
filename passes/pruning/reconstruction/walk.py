"""A model that is run stage by stage over the same batches, and whose constants can change on the way."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import onnx

from pruna_ir.analysis.gram import Feeds
from pruna_ir.passes.pruning.reconstruction.edits import by_node, edited, masked
from pruna_ir.passes.pruning.reconstruction.schedule import Schedule
from pruna_ir.passes.pruning.reconstruction.sites import Edits, Slot
from pruna_ir.passes.pruning.reconstruction.submodels import submodel
from pruna_ir.runtime.session import Session
from pruna_ir.runtime.threads import few_threads

# Values between two stages beyond this many bytes are kept in a file.
MEMORY_LIMIT = 1 << 30


class Walk:
    """Runs a model stage after stage; between two of them, tensors that later stages read are kept for every batch."""

    def __init__(self, proto: onnx.ModelProto, plan: Schedule, batches: Sequence[Feeds]) -> None:
        self._proto, self._plan = proto, plan
        self._constants = {tensor.name: tensor for tensor in proto.graph.initializer}
        self._edits: dict[str, dict[int, np.ndarray]] = {}
        self._masks: dict[str, dict[int, np.ndarray]] = {}
        self._live = [_Live(batch) for batch in batches]
        self._next = 0
        for live in self._live:
            live.limit = MEMORY_LIMIT // max(len(self._live), 1)

    def __len__(self) -> int:
        return len(self._live)

    def value(self, tensor: str, batch: int) -> np.ndarray:
        """A tensor's value for a batch: of a constant, or as it was kept."""
        if tensor in self._constants:
            return onnx.numpy_helper.to_array(self._constants[tensor])
        return self._live[batch][tensor]

    def set(self, edits: Edits) -> None:
        """Let nodes that are still to be run read these values instead of what they read."""
        for key, values in by_node(edits).items():
            self._edits.setdefault(key, {}).update(values)

    def mask(self, slot: Slot, kept: np.ndarray) -> None:
        """Let a node that is still to be run read zeros where the mask, which is broadcast, does not say `kept`."""
        self._masks.setdefault(slot.key, {})[slot.position] = kept

    def run_to(self, stage: int, keep: Collection[str] = ()) -> None:
        """Run the stages in front of `stage`, and keep what is read from there on, and what is in `keep`."""
        while self._next < stage:
            self._run(self._next, keep)
            self._next += 1

    def _run(self, stage: int, keep: Collection[str]) -> None:
        nodes = self._plan.stages[stage]
        written = [name for node in nodes for name in node.output if name]
        kept = [name for name in written if self._plan.last_read.get(name, -1) > stage or name in keep]
        session = Session(self._model(nodes, kept), threads=few_threads()) if kept else None
        for live in self._live:
            if session is not None:
                values = session.run({spec.name: np.asarray(live[spec.name]) for spec in session.inputs})
                for name, value in values.items():
                    live[name] = value
            live.forget(name for name in list(live) if self._plan.last_read.get(name, -1) <= stage and name not in keep)

    def _model(self, nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> onnx.ModelProto:
        """Some nodes as a model, with the constants that they read."""
        constants: list[onnx.TensorProto] = []
        changed: list[onnx.NodeProto] = []
        for node in nodes:
            key = node.output[0] if node.output else ""
            node = edited(node, self._edits[key], constants) if key in self._edits else node
            changed += masked(node, self._masks[key], constants) if key in self._masks else [node]
        return submodel(self._proto, changed, self._live[0], outputs, constants)


class _Live(dict[str, np.ndarray]):
    """Tensors of one batch by name; those beyond the limit are kept in files."""

    limit = MEMORY_LIMIT

    def __init__(self, values: Feeds) -> None:
        super().__init__(values)
        self._held: dict[str, int] = {}

    def __setitem__(self, name: str, value: np.ndarray) -> None:
        if value.nbytes and sum(self._held.values()) + value.nbytes > self.limit:
            with tempfile.TemporaryFile(prefix="pruna-") as file:  # the mapping outlives its name
                mapped = np.memmap(file, value.dtype, "w+", shape=value.shape or (1,))
            mapped[...] = value
            value = mapped.reshape(value.shape)
        else:
            self._held[name] = value.nbytes
        super().__setitem__(name, value)

    def forget(self, names: Iterator[str]) -> None:
        """Drop tensors."""
        for name in list(names):
            del self[name]
            self._held.pop(name, None)
