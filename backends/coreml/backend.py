"""The Core ML back end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pruna_ir.backends.coreml import check, images
from pruna_ir.backends.coreml.sizes import Sizes, read_sizes
from pruna_ir.backends.coreml.toolbox import require_coremltools
from pruna_ir.data.preprocess import Preprocessing
from pruna_ir.diagnostics import error
from pruna_ir.emission import CHECKED_SAMPLES, Backend, Check, Emitted, Feeds
from pruna_ir.pipeline.options import option

if TYPE_CHECKING:
    from pruna_ir.backends.coreml.session import CoremlSession
    from pruna_ir.data import BoundDataset
    from pruna_ir.model import Model
    from pruna_ir.remarks import Remark


@dataclass(frozen=True)
class CoremlBackend(Backend):
    """Write a .mlpackage with an ML program, on any system.

    Q/DQ of the graph become `quantize`, `dequantize` and weights that are stored in integers, with the graph's scales,
    bit for bit: where 16 bits do not hold a scale, its operators compute in 32. The package is read back and compared
    with the model in a reference evaluator, and on Core ML itself where that is.
    """

    name: ClassVar[str] = "coreml"
    suffix: ClassVar[str] = ".mlpackage"
    target: ClassVar[str] = "coreml"
    runtime: ClassVar[str] = "Core ML"

    ios: int = option(
        17, "the oldest iOS that the package runs on; macOS and the others are three behind", low=16, high=18
    )
    compute: Literal["fp16", "fp32"] = option("fp16", "what floats are computed in; the Neural Engine has fp16 only")
    batch: int = option(1, "samples that the package takes at a time, where the model leaves that open", low=1)
    shapes: tuple[str, ...] = option(
        (), "sizes that stay open, by the model's names for them: [n:1..8] any of a range, [h:224|256] those of a list"
    )
    image: Literal["none", "data", "RGB", "BGR", "GRAY"] = option(
        "none", "inputs take images, of these channels; data: with channels and normalization as the data says"
    )
    scale: tuple[float, ...] = option((1.0,), "what pixels from 0 to 255 are multiplied by, a number or one a channel")
    bias: tuple[float, ...] = option((0.0,), "what is added then, a number or one a channel")
    labels: str = option("", "text file with the name of a class a line, which makes the package a classifier")
    author: str = option("", "who made the model")
    license: str = option("", "its license")
    description: str = option("", "what it does")
    version: str = option("", "its version")
    preprocessing: Preprocessing | None = None
    samples: tuple[Mapping[str, Any], ...] = field(default=(), compare=False, repr=False)

    def require_packages(self) -> None:
        """X001 without coremltools; P004 for options that say nothing, D001 if the labels cannot be read."""
        require_coremltools()
        self._sizes()
        self._label_list()
        if self.image not in ("none", "data"):
            images.explicit(self.image, self.scale, self.bias, self.name)

    def for_data(self, data: BoundDataset) -> CoremlBackend:
        """With the normalization of the data, for images, and samples, to measure on what 16 bits do."""
        samples = tuple(dict(batch.feeds) for batch in data.require("calibration").head(CHECKED_SAMPLES).batches(1))
        return replace(self, preprocessing=data.dataset.preprocessing, samples=samples)

    def legalize(self, model: Model) -> Model:
        """A copy in operators that ML programs have; E005 for shapes that stay open."""
        from pruna_ir.backends.coreml.legalize import legalize

        return legalize(model, batch=self.batch, open_sizes=self._sizes())

    def emit(self, model: Model, path: Path) -> Sequence[Remark]:
        """Write the package; E004 names all operators that cannot be written."""
        from pruna_ir.backends.coreml.evaluate.package import read_package
        from pruna_ir.backends.coreml.exactness import Exact, exact_nodes
        from pruna_ir.backends.coreml.lowering import lower
        from pruna_ir.backends.coreml.package import Packaging, write
        from pruna_ir.backends.coreml.processors import remarks

        if path.suffix != self.suffix:
            raise error("C003", f"the name of a package ends in {self.suffix}", place=path)
        labels = self._label_list()
        texts = {"author": self.author, "license": self.license, "versionString": self.version}
        packaging = Packaging(
            ios=self.ios,
            half=self.compute == "fp16",
            sizes=self._sizes(),
            labels=labels,
            labelled=_labelled(model, labels, self.labels),
            texts={**texts, "shortDescription": self.description or str(model.graph.name or "")},
        )
        exact = exact_nodes(model, self.samples) if packaging.half else Exact()
        lowered = lower(model, ios=self.ios, images=self._images(model), exact=exact.names)
        write(lowered, path, packaging)
        return [*exact.remarks, *remarks(read_package(path))]

    def check(self, emitted: Emitted, samples: Sequence[Feeds]) -> tuple[Check, ...]:
        """Read the package back and compare scales and outputs; E002 if they differ."""
        return check.check(emitted, samples, self.compute)

    def session(self, path: Path, threads: int = 1) -> CoremlSession:
        """The package on Core ML; E003 on systems that have none."""
        from pruna_ir.backends.coreml.session import CoremlSession

        return CoremlSession(path)

    def wrote(self, path: Path) -> bool:
        """Whether a folder is a package."""
        return path.suffix == self.suffix and (path / "Manifest.json").is_file()

    def _sizes(self) -> dict[str, Sizes]:
        return read_sizes(self.shapes, self.name)

    def _label_list(self) -> list[str]:
        if not self.labels:
            return []
        try:
            labels = Path(self.labels).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as failure:
            raise error("D001", f"the labels cannot be read: {failure}", place=self.labels) from None
        if len(set(labels)) < len(labels) or not labels:
            twice = next((label for label in labels if labels.count(label) > 1), "")
            raise error("D007", f"labels are different names: `{twice}` is there twice", place=self.labels)
        return labels

    def _images(self, model: Model) -> dict[str, images.Pixels]:
        if self.image == "none":
            return {}
        if self.image != "data":
            return images.image_inputs(model.inputs(), images.explicit(self.image, self.scale, self.bias, self.name))
        if self.preprocessing is None:
            help_text = "give data with `input`, or image=RGB, scale and bias"
            raise error("D003", "the data does not say how images are normalized", help=help_text)
        return images.image_inputs(model.inputs(), images.of_preprocessing(self.preprocessing))


def _labelled(model: Model, labels: Sequence[str], place: str) -> str:
    """The output that has a value for each label; D007 if none has."""
    if not labels:
        return ""
    for spec in model.outputs():
        if spec.shape[-1:] == (len(labels),) and all(size == 1 for size in spec.shape[:-1]):
            return spec.name
    raise error("D007", f"there are {len(labels)} labels, and no output has as many values", place=place)
