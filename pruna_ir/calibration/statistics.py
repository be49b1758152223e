"""Statistics: what calibration collected about every tensor of a model. Mergeable, storable, re-solvable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pruna_ir.calibration import storage
from pruna_ir.calibration.record import Record
from pruna_ir.diagnostics import error

_MOST_NAMES = 8


@dataclass(frozen=True)
class Statistics(Mapping[str, Record]):
    """Records by tensor name, over `samples` samples.

    `refused` names the records that `for_model` left out because the model has changed upstream of them.
    """

    records: Mapping[str, Record]
    samples: int = 0
    refused: frozenset[str] = field(default=frozenset())

    def __getitem__(self, name: str) -> Record:
        return self.records[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def merge(self, other: Statistics) -> Statistics:
        """Statistics over the samples of both, exactly those of one pass over all of them.

        Order and grouping do not matter. Raises S001 if a tensor was computed differently in the two.
        """
        shared = self.records.keys() & other.records.keys()
        changed = [name for name in shared if self[name].fingerprint != other[name].fingerprint]
        if changed:
            raise _refuse(changed, "the statistics to merge come from different models")
        merged = {**self.records, **other.records, **{name: self[name].merge(other[name]) for name in shared}}
        return Statistics(dict(sorted(merged.items())), self.samples + other.samples, self.refused | other.refused)

    def save(self, path: str | Path) -> None:
        """Write an .npz file (without pickled objects); raises C003 if it cannot be written."""
        storage.save(self.records, self.samples, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Statistics:
        """Read what `save` wrote; raises S002 if the file is missing, damaged or of another format."""
        records, samples = storage.load(Path(path))
        return cls(records, samples)

    def for_model(self, fingerprints: Mapping[str, str]) -> Statistics:
        """What still holds for a model with these fingerprints: the records of tensors that nothing upstream changed.

        Tensors that the model no longer has are left out, and those that it computes differently are `refused`.
        Raises S001 if no record holds at all: the statistics belong to another model.
        """
        kept = self.matching(fingerprints).records
        if self.records and not kept:
            raise error("S001", "the statistics belong to another model: no tensor was computed as it is here")
        refused = frozenset(name for name in self if name in fingerprints and name not in kept)
        return Statistics(kept, self.samples, refused)

    def matching(self, fingerprints: Mapping[str, str]) -> Statistics:
        """The records of tensors that a model with these fingerprints computes in the same way."""
        return Statistics({k: v for k, v in self.items() if fingerprints.get(k) == v.fingerprint}, self.samples)

    def beside(self, other: Statistics) -> Statistics:
        """These and those that only `other` has, of the same samples."""
        return Statistics(dict(sorted({**other.records, **self.records}.items())), max(self.samples, other.samples))

    def require(self, tensors: Iterable[str]) -> None:
        """Raise S001 with the list of the `tensors` that these statistics do not hold for, if there are any."""
        missing = [name for name in tensors if name not in self.records]
        if missing:
            stale = [name for name in missing if name in self.refused]
            message = "the model has changed upstream of tensors" if stale else "statistics of tensors are missing"
            raise _refuse(missing, message)


def _refuse(names: list[str], message: str) -> Exception:
    listed = ", ".join(f"`{name}`" for name in sorted(names)[:_MOST_NAMES])
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return error("S001", message, help="collect the statistics again with this model", notes=[f"{listed}{more}"])
