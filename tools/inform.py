"""What pruna-opt tells without running anything: its passes, targets, diagnostics and versions."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from pruna_ir import registry
from pruna_ir.diagnostics import CODES, did_you_mean, error
from pruna_ir.pipeline.options import options_of


def list_passes() -> Iterator[str]:
    """Named pipelines with their texts, then passes with their first sentence."""
    yield "pipelines"
    yield from _columns((name, text or "(nothing)") for name, text in registry.PIPELINES.items())
    yield ""
    yield "passes"
    yield from _columns((name, _summary(registry.pass_class(name))) for name in sorted(registry.passes()))


def list_targets() -> Iterator[str]:
    """Targets and back ends, with what they are for."""
    yield "targets"
    yield from _columns((name, _target_line(name)) for name in registry.targets())
    yield ""
    yield "back ends"
    yield from _columns((name, _summary(registry.backend(name))) for name in registry.backends())


def version_lines() -> Iterator[str]:
    """The versions that a bug report needs."""
    from pruna_ir.instruments.reproduce import versions

    yield from (f"{name} {version}" for name, version in versions().items())


def explain(name: str) -> Iterator[str]:
    """What a pass, named pipeline, target, back end or diagnostic code is; raises C001 for anything else."""
    if name.upper() in CODES:
        return _explain_code(name.upper())
    if name.removeprefix("-") in registry.PIPELINES:
        return _explain_pipeline(name.removeprefix("-"))
    if name in registry.passes():
        return _explain_pass(name)
    if name in registry.targets():
        return _explain_target(name)
    if name in registry.backends():
        return _explain_class(name, registry.backend(name), "back end")
    known = [*registry.PIPELINES, *registry.passes(), *registry.targets(), *registry.backends()]
    raise error("C001", f"there is nothing called `{name}` to explain", help=did_you_mean(name, known, "subject"))


def _explain_code(code: str) -> Iterator[str]:
    yield f"{code}: {CODES[code].meaning}"
    yield f"A run that ends with it has the exit code {CODES[code].exit_code}."


def _explain_pipeline(name: str) -> Iterator[str]:
    from pruna_ir.pipeline.build import build, to_text

    yield f"{name} (named pipeline)"
    yield f"  is         {registry.PIPELINES[name] or '(nothing)'}"
    yield f"  in full    {to_text(build(name)) or '(nothing)'}"


def _explain_pass(name: str) -> Iterator[str]:
    cls = registry.pass_class(name)
    needs = f", needs {' and '.join(sorted(cls.needs))}" if cls.needs else ""
    yield from _explain_class(name, cls, f"pass, {cls.effect}{needs}")
    for word, others in (("after", cls.after), ("before", cls.before)):
        if others:
            yield f"runs {word}: {', '.join(others)}"


def _explain_class(name: str, cls: type, kind: str) -> Iterator[str]:
    yield f"{name} ({kind})"
    yield ""
    yield from inspect.cleandoc(cls.__doc__ or "").splitlines()
    options = options_of(cls)
    if options:
        yield ""
        yield f"options, as in {name}<{next(iter(options))}=...>, with their defaults"
        yield from _columns(
            (f"{info.name}={info.default_text}", f"{info.help} ({info.type_text})") for info in options.values()
        )


def _target_line(name: str) -> str:
    """The description, and whether the name stands for one of the tables on this machine."""
    target = registry.target(name)
    others = [other for other in registry.targets() if other != name]
    equal = [other for other in others if replace(registry.target(other), name=name) == target]
    return f"{target.description}{f' (here the same as {equal[0]})' if equal else ''}"


def _explain_target(name: str) -> Iterator[str]:
    target: Any = registry.target(name)
    yield f"{name} (target)"
    yield ""
    yield _target_line(name)
    yield f"activations {target.activations.dtype.name}, weights {target.weights.dtype.name}"
    yield f"integer kernels: {', '.join(target.ops)}"
    if target.proved_on:
        yield f"seen to become integer kernels on {target.runtime} {', '.join(target.proved_on)}"
    elif target.runtime:
        yield f"read in the documentation and tools of {target.runtime}, which does not run here"


def _summary(cls: type) -> str:
    return inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].replace("\n", " ")


def _columns(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    listed = list(rows)
    width = max((len(left) for left, _ in listed), default=0)
    for left, right in listed:
        yield f"  {left:<{width}}  {right}"
