"""Optimization profiles: how large the open dimensions of a model's inputs may be, and what it is tuned for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pruna_ir.data import BoundDataset
from pruna_ir.data.fit import batch_axis
from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.model.spec import TensorSpec

# Samples whose shapes are looked at.
_SAMPLES = 64
_HELP = "profile=[NAME:MIN:OPT:MAX], or a dataset with samples of all sizes"


@dataclass(frozen=True)
class Sizes:
    """The smallest, usual and largest size of a dimension."""

    low: int
    usual: int
    high: int

    @property
    def valid(self) -> bool:
        """Whether they are sizes, in order."""
        return 0 < self.low <= self.usual <= self.high


@dataclass(frozen=True)
class Profile:
    """Shapes of one input."""

    low: tuple[int, ...]
    usual: tuple[int, ...]
    high: tuple[int, ...]

    def to_json(self) -> dict[str, list[int]]:
        """As build_engine.py reads it."""
        return {"min": list(self.low), "opt": list(self.usual), "max": list(self.high)}


def read_sizes(texts: Sequence[str]) -> dict[str, Sizes]:
    """Sizes by the name of a dimension, from `NAME:MIN:OPT:MAX`; raises P004."""
    found = {}
    for text in texts:
        name, *numbers = text.rsplit(":", 3)
        sizes = Sizes(*map(int, numbers)) if len(numbers) == 3 and all(map(str.isdecimal, numbers)) else None
        if not name or sizes is None or not sizes.valid:
            help_text = "NAME:MIN:OPT:MAX with 0 < MIN <= OPT <= MAX, such as batch:1:8:32"
            raise error("P004", f"`profile` cannot be `{text}`", help=help_text)
        found[name] = sizes
    return found


def sizes_in(data: BoundDataset) -> dict[str, Sizes]:
    """Sizes of the open dimensions that count no samples, by name, from the first samples of the calibration split."""
    places = [place for place in _open_places(data.inputs) if not (place.counts_samples and batch_axis(data.inputs))]
    if not places or data.calibration is None:
        return {}
    seen: dict[str, list[int]] = {}
    for batch in data.calibration.head(_SAMPLES).batches(1):
        for place in places:
            seen.setdefault(place.name, []).append(batch.feeds[place.input].shape[place.axis])
    return {name: Sizes(min(sizes), sorted(sizes)[len(sizes) // 2], max(sizes)) for name, sizes in seen.items()}


def make_profiles(
    inputs: Sequence[TensorSpec], batch: Sizes, given: Mapping[str, Sizes], seen: Mapping[str, Sizes]
) -> dict[str, Profile]:
    """Profiles of the inputs that have open dimensions.

    `batch` is for the first dimension of inputs that counts samples, unless `given` (by the user) has its name; `seen`
    (in the data) is for the others. Raises E005 that names every dimension without sizes, and P004 for given names
    that no input has.
    """
    places = _open_places(inputs)
    names = {place.name for place in places}
    if strangers := [name for name in given if name not in names]:
        known = ", ".join(sorted(names)) or "none"
        raise error("P004", f"no input has a dimension `{strangers[0]}`", help=f"open dimensions: {known}")
    counted = {place.name for place in places if place.counts_samples} if batch_axis(inputs) else set()
    sizes = {**dict.fromkeys(counted, batch), **seen, **given}
    missing = {place.name: place for place in places if place.name not in sizes}
    if missing:
        raise _open(list(missing.values()))
    return {
        spec.name: Profile(*(tuple(_at(spec, axis, sizes, end) for axis in range(len(spec.shape))) for end in _ENDS))
        for spec in inputs
        if any(not isinstance(size, int) for size in spec.shape)
    }


_ENDS = ("low", "usual", "high")


@dataclass(frozen=True)
class _Place:
    """An open dimension: by its name, or by input and axis if it has none."""

    input: str
    axis: int
    name: str

    @property
    def counts_samples(self) -> bool:
        return self.axis == 0


def _open_places(inputs: Sequence[TensorSpec]) -> list[_Place]:
    return [
        _Place(spec.name, axis, _dim_name(spec, axis))
        for spec in inputs
        for axis, size in enumerate(spec.shape)
        if not isinstance(size, int)
    ]


def _dim_name(spec: TensorSpec, axis: int) -> str:
    size = spec.shape[axis]
    return size if isinstance(size, str) and size else f"{spec.name}.{axis}"


def _at(spec: TensorSpec, axis: int, sizes: Mapping[str, Sizes], end: str) -> int:
    size = spec.shape[axis]
    return size if isinstance(size, int) else int(getattr(sizes[_dim_name(spec, axis)], end))


def _open(places: Sequence[_Place]) -> PrunaError:
    notes = [f"`{place.name}`: axis {place.axis} of `{place.input}`" for place in places]
    count = f"{len(places)} open dimensions" if len(places) > 1 else "an open dimension"
    return error("E005", f"nothing says how large {count} of the inputs may be", help=_HELP, notes=notes)
