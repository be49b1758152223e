"""What a run will do, settled and checked before any work: the passes, the target, and every place that is written."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from pruna_ir import registry
from pruna_ir.diagnostics import error
from pruna_ir.emission import Backend, parse_backends, refuse_folder, refuse_same_file
from pruna_ir.pipeline.context import data_missing
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.pipeline.pass_base import Need
from pruna_ir.tools.budget import sweep_points, with_budget
from pruna_ir.tools.options import STDOUT, Options
from pruna_ir.writing import unwritable

if TYPE_CHECKING:
    from pruna_ir.targets import Target

DEMO_OUTPUT = Path("digits.int8.onnx")


@dataclass(frozen=True)
class Output:
    """A back end, where it writes (None: nowhere, the file is only measured), and what the model is optimized for."""

    backend: Backend
    path: Path | None
    target: Target


@dataclass(frozen=True)
class Plan:
    """A run that can start."""

    options: Options
    model: Path
    data: str | None
    manager: PassManager
    outputs: tuple[Output, ...]

    @property
    def target(self) -> Target:
        """What the model is optimized for: of several, the first."""
        return self.outputs[0].target

    def by_target(self) -> list[Plan]:
        """A plan for each target, with the outputs that are for it."""
        targets = dict.fromkeys(output.target.name for output in self.outputs)
        chosen = [tuple(output for output in self.outputs if output.target.name == name) for name in targets]
        return [replace(self, outputs=outputs) for outputs in chosen]

    def written(self) -> Iterator[Path]:
        """Every file that the run writes."""
        yield from (output.path for output in self.outputs if output.path is not None)
        beside = (self.options.json, self.options.decisions, self.options.manifest, self.options.save_stats)
        yield from (path for path in beside if path is not None and path != STDOUT)


def make_plan(options: Options) -> Plan:
    """Resolve every name and check every place; raises what is wrong with the command line, C002 and C003 too."""
    manager = make_manager(options)
    backends = parse_backends(options.emit)
    if not backends:
        raise error("C001", "`--emit` names no back end", help=f"known: {', '.join(registry.backends())}")
    for backend in backends:
        backend.require_packages()
    _refuse_several_targets(options, backends)
    model, data = _sources(options)
    trials = [manager.passes] if options.sweep is None else sweep_points(manager.passes, options.sweep).values()
    hungry = next((item.name for passes in trials for item in passes if Need.DATA in item.needed()), None)
    if hungry is not None and data is None:
        raise data_missing(hungry)
    plan = Plan(options, model, data, manager, _outputs(options, backends))
    _check_places(plan)
    return plan


def make_manager(options: Options) -> PassManager:
    """The passes that the options name, with the budget; raises P001 to P005, and C004 for a budget nobody keeps to."""
    manager = PassManager.parse(options.pipeline, options.pipeline_place)
    return manager if options.budget is None else PassManager(with_budget(manager.passes, options.budget))


def _sources(options: Options) -> tuple[Path, str | None]:
    """The model and the data."""
    if options.demo:
        from pruna_ir import demo

        return demo.MODEL, options.data or str(demo.DATA)
    if options.model is None:
        raise error("C001", "there is no model", help="pruna-opt MODEL -o OUT; `pruna-opt --demo` brings its own")
    return options.model, options.data


def _refuse_several_targets(options: Options, backends: Sequence[Backend]) -> None:
    """Raise C004 for what is about one model, where every back end would get one for its own target."""
    wanted = {backend.target: backend.name for backend in backends}
    about_one = {
        "--bisect": options.bisect,
        "--decisions": options.decisions,
        "--explain-quantization": options.explain_quantization,
        "--manifest": options.manifest,
        "--replay": options.replay,
        "--sweep": options.sweep,
        "-o -": options.output == STDOUT,
    }
    given = [name for name, value in about_one.items() if value]
    if options.target is None and len(wanted) > 1 and given:
        listed = ", ".join(f"`{name}` wants `{target}`" for target, name in wanted.items())
        help_text = "name the one to optimize for with --target"
        raise error("C004", f"{given[0]} is about one model, and the back ends get several: {listed}", help=help_text)


def _outputs(options: Options, backends: Sequence[Backend]) -> tuple[Output, ...]:
    """One back end writes the file `-o`, several write into the folder `-o`, and so does a sweep, which names files."""
    names = [options.target or backend.target for backend in backends]
    known = {name: registry.target(name) for name in names}
    path = options.output
    if path is None and options.demo:
        path = DEMO_OUTPUT
    if path is None or path == STDOUT or options.sweep is not None:
        paths: list[Path | None] = [None] * len(backends)
    elif len(backends) == 1:
        paths = [path]
    else:
        paths = [path / backend.file_name for backend in backends]
    made = zip(backends, paths, names, strict=True)
    return tuple(Output(backend, place, known[name]) for backend, place, name in made)


def _check_places(plan: Plan) -> None:
    written = list(plan.written())
    backends = {output.path: output.backend for output in plan.outputs}
    for path in written:
        refuse_same_file(path, [plan.model])
        refuse_folder(path, backends.get(path))
        _prove_writable(path, makes_folder=len(plan.outputs) > 1)
    for first, second in combinations(written, 2):
        if first.absolute() == second.absolute():
            raise error("C001", f"`{first}` would be written twice", help="name another file")


def _prove_writable(path: Path, makes_folder: bool) -> None:
    """Make and drop a file beside `path`: permissions alone do not tell (read-only mounts, full disks)."""
    folder = path.parent
    if makes_folder and not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".pruna-"):
            pass
    except OSError as failure:
        raise unwritable(path, failure) from None
