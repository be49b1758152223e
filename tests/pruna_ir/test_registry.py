from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import outside_package
import pytest

from pruna_ir import registry
from pruna_ir.diagnostics import PrunaError
from pruna_ir.pipeline.build import build
from pruna_ir.pipeline.options import options_of
from pruna_ir.pipeline.pass_base import Effect, Need, Pass, summary
from pruna_ir.pipeline.rules import Rule
from pruna_ir.targets import Target


@pytest.mark.parametrize("name", sorted(registry.PASSES))
def test_every_pass_is_what_its_name_says(name: str) -> None:
    cls = registry.pass_class(name)
    assert issubclass(cls, Pass)
    assert cls.name == name
    assert Path(inspect.getfile(cls)).stem == name.replace("-", "_")
    assert cls.__name__ == "".join(part.capitalize() for part in name.split("-"))
    assert isinstance(cls.effect, Effect)
    assert all(isinstance(need, Need) for need in cls.needs)
    assert str(cls()) == name  # its defaults need no options


@pytest.mark.parametrize("name", sorted(registry.PASSES))
def test_every_pass_explains_itself(name: str) -> None:
    cls = registry.pass_class(name)
    assert summary(cls).endswith(".")
    assert "\n" not in summary(cls)
    for info in options_of(cls).values():
        assert info.help
        assert info.type_text


@pytest.mark.parametrize("name", sorted([*registry.FUSION_RULES, *registry.RECOGNITION_RULES]))
def test_every_member_of_a_group_is_a_rule(name: str) -> None:
    assert issubclass(registry.pass_class(name), Rule)
    assert registry.PASSES[name] == {**registry.FUSION_RULES, **registry.RECOGNITION_RULES}[name]


@pytest.mark.parametrize("name", sorted(registry.PIPELINES))
def test_every_named_pipeline_expands(name: str) -> None:
    assert all(item.name in registry.PASSES for item in build(name))
    assert name not in registry.PASSES


@pytest.mark.parametrize("name", sorted(registry.TARGETS))
def test_every_target_is_a_target(name: str) -> None:
    found = registry.target(name)
    assert isinstance(found, Target)
    assert found.backend in registry.BACKENDS
    if not callable(registry.resolve(registry.TARGETS[name])):  # `ort-cpu` is whatever the host is
        assert found.name == name


@pytest.mark.parametrize("name", sorted(registry.BACKENDS))
def test_every_back_end_resolves(name: str) -> None:
    assert inspect.isclass(registry.backend(name))


@pytest.mark.parametrize(
    ("look_up", "code", "help"),
    [
        (lambda: registry.pass_class("fuze"), "P002", "a pass with a similar name exists: `fuse`"),
        (lambda: registry.target("ort-cpuu"), "T001", "a target with a similar name exists: `ort-cpu`"),
        (lambda: registry.backend("onx"), "E001", "a back end with a similar name exists: `onnx`"),
    ],
)
def test_unknown_names_get_a_suggestion(look_up: object, code: str, help: str) -> None:
    with pytest.raises(PrunaError) as caught:
        look_up()  # type: ignore[operator]
    assert (caught.value.diagnostic.code, caught.value.diagnostic.help) == (code, help)


OUTSIDE = """
from dataclasses import dataclass
from typing import ClassVar
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.registry import target

TARGET = target("ort-x86")

@dataclass(frozen=True)
class TheirPass(Pass):
    \"\"\"Do what they do.\"\"\"

    name: ClassVar[str] = "their-pass"
    effect: ClassVar[Effect] = Effect.EXACT

    def run(self, model, context):
        return PassResult()

class TheirBackend:
    pass
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package that offers one of each, tries to take a name of ours, and has a broken entry."""
    module = "their_extension"
    entry_points = {
        "pruna_ir.passes": {
            "their-pass": f"{module}:TheirPass",
            "fuse": f"{module}:TheirPass",
            "broken": f"{module}:Missing",
            "absent": "no_such_module:Pass",
        },
        "pruna_ir.targets": {"their-target": f"{module}:TARGET"},
        "pruna_ir.backends": {"their-backend": f"{module}:TheirBackend"},
    }
    outside_package.install(tmp_path, module, OUTSIDE, entry_points)
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._outside.cache_clear()
    yield
    registry._outside.cache_clear()


@pytest.mark.usefixtures("outside")
def test_other_packages_add_passes_targets_and_back_ends() -> None:
    assert {"their-pass", "fuse"} <= registry.passes().keys()
    (item,) = build("their-pass")
    assert (type(item).__name__, str(item)) == ("TheirPass", "their-pass")
    assert registry.target("their-target") is not None
    assert registry.backend("their-backend").__name__ == "TheirBackend"


@pytest.mark.usefixtures("outside")
def test_other_packages_cannot_take_our_names() -> None:
    assert registry.pass_class("fuse").__name__ == "Fuse"


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize(("name", "reason"), [("broken", "has no attribute 'Missing'"), ("absent", "No module named")])
def test_a_broken_package_is_named(name: str, reason: str) -> None:
    with pytest.raises(PrunaError, match=reason) as caught:
        registry.pass_class(name)
    assert caught.value.diagnostic.code == "X001"


def test_the_table_is_read_without_importing_passes() -> None:
    assert "their-pass" not in registry.passes()  # the package of the other tests is gone


def test_a_module_that_does_not_parse_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_written_pass.py").write_text("class Half(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PrunaError, match="half_written_pass:Half` cannot be loaded: invalid syntax") as caught:
        registry.resolve("half_written_pass:Half")
    assert caught.value.diagnostic.code == "X001"
