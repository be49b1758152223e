from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from pruna_ir import registry
from pruna_ir.diagnostics import PrunaError
from pruna_ir.pipeline.build import MAX_PASSES, MAX_REPEATS, build, to_text
from pruna_ir.pipeline.options import OptionInfo, options_of
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult, order_problem
from pruna_ir.pipeline.rules import Rule

rule_names = st.sampled_from(sorted(registry.FUSION_RULES))


def option_values(info: OptionInfo) -> st.SearchStrategy[Any]:
    """Values of an option's type, within its range."""
    for kind in (int, float):
        if info.type == (kind | None):
            return st.none() | option_values(replace(info, type=kind))
    if info.type is bool:
        return st.booleans()
    if info.type is int:
        low, high = (None if bound is None else int(bound) for bound in (info.low, info.high))
        return st.integers(low, high)
    if info.type is float:
        return st.floats(info.low, info.high, allow_nan=False)
    if get_origin(info.type) is Literal:
        return st.sampled_from(get_args(info.type))
    if get_origin(info.type) is tuple:
        return st.lists(rule_names | st.text(max_size=6), max_size=3).map(tuple)
    assert info.type is str, f"no values are known for the type of {info}"
    return st.text(max_size=8)


@st.composite
def passes(draw: st.DrawFn) -> Pass:
    """Any registered pass with any options that it accepts."""
    cls = registry.pass_class(draw(st.sampled_from(sorted(registry.PASSES))))
    known = {name.replace("-", "_"): option_values(info) for name, info in options_of(cls).items()}
    try:
        return cls(**draw(st.fixed_dictionaries({}, optional=known)))
    except PrunaError:  # a combination or a name that the pass itself refuses
        reject()


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(passes())
def test_a_pass_prints_and_parses_to_itself(item: Pass) -> None:
    assert build(str(item)) == (item,)


@st.composite
def pipelines(draw: st.DrawFn) -> str:
    """Pipeline text of passes, named pipelines and repetitions, in any order."""
    leaves = passes().map(str) | st.sampled_from(sorted(set(registry.PIPELINES) - {"O0"}))
    group = st.builds(
        lambda times, inner: f"repeat<times={times}>({','.join(inner)})",
        st.integers(1, 3),
        st.lists(leaves, max_size=2),
    )
    return ",".join(draw(st.lists(leaves | group, max_size=4)))


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(pipelines())
def test_text_to_passes_to_text_is_a_fixed_point(text: str) -> None:
    try:
        built = build(text)
    except PrunaError as failure:
        assert failure.diagnostic.code == "P005"
        reject()
    canonical = to_text(built)
    assert build(canonical) == built
    assert to_text(build(canonical)) == canonical


def test_named_pipelines_expand_in_place() -> None:
    text = to_text(build("O1"))
    assert text == registry.PIPELINES["O1"].replace("simplify", registry.PIPELINES["simplify"])
    assert build("O0") == ()


def test_a_repetition_writes_its_body_out() -> None:
    assert (
        to_text(build("repeat<times=2>(dead-code,repeat<times=2>(fuse))")) == "dead-code,fuse,fuse,dead-code,fuse,fuse"
    )


def refusal(text: str) -> tuple[str, str, str]:
    with pytest.raises(PrunaError) as caught:
        build(text)
    diagnostic = caught.value.diagnostic
    assert diagnostic.span is not None
    return diagnostic.code, diagnostic.place.removeprefix("-passes:1:"), text[slice(*diagnostic.span)]


@pytest.mark.parametrize(
    ("text", "code", "at_fault"),
    [
        ("fuse,dead-cod", "P002", "dead-cod"),
        ("dead-code<fast>", "P003", "fast"),
        ("quantize<smples=3>", "P003", "smples"),
        ("quantize<samples>", "P004", "samples"),
        ("quantize<samples=0>", "P004", "0"),
        ("quantize<samples=1.5>", "P004", "1.5"),
        ("quantize<samples=[1]>", "P004", "[1]"),
        ("quantize<guard=perhaps>", "P004", "perhaps"),
        ("store-weights<share=nan>", "P004", "nan"),
        ("store-weights<share=1.1>", "P004", "1.1"),
        ("O1<fast>", "P003", "O1"),
        ("fuse(dead-code)", "P001", "fuse"),
        ("repeat(fuse)", "P004", "repeat"),
        ("repeat<times=2>", "P004", "repeat"),
        (f"repeat<times={MAX_REPEATS + 1}>(fuse)", "P004", "repeat"),
        ("repeat<times=0>(fuse)", "P004", "repeat"),
        ("repeat<times=²>(fuse)", "P004", "repeat"),
        ("repeat<times=" + "9" * 5000 + ">(fuse)", "P004", "repeat"),
    ],
)
def test_a_wrong_pipeline_is_refused_at_its_place(text: str, code: str, at_fault: str) -> None:
    assert refusal(text) == (code, str(text.rindex(at_fault) + 1), at_fault)


def test_nested_repetitions_do_not_explode() -> None:
    nested = "repeat<times=16>(" * 30
    assert build(f"{nested}{')' * 30}") == ()
    with pytest.raises(PrunaError, match=f"more than {MAX_PASSES:,} passes"):
        build(f"{nested}fuse{')' * 30}")


def test_similar_names_are_suggested() -> None:
    with pytest.raises(PrunaError, match="a pass with a similar name exists: `dead-code`"):
        build("ded-code")


class Early(Pass):
    name: ClassVar[str] = "early"
    effect: ClassVar[Effect] = Effect.EXACT
    before: ClassVar[tuple[str, ...]] = ("late",)

    def run(self, model: Any, context: Any) -> PassResult:
        return PassResult()


class Late(Early):
    name: ClassVar[str] = "late"
    before: ClassVar[tuple[str, ...]] = ()
    after: ClassVar[tuple[str, ...]] = ("middle",)


def test_order_constraints_hold_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (Early, Late):
        monkeypatch.setitem(registry.PASSES, cls.name, f"{__name__}:{cls.__name__}")
    assert to_text(build("early,fuse,late")) == "early,fuse,late"
    assert refusal("late,fuse,early") == ("P005", "11", "early")
    classes: dict[str, type[Pass]] = {"middle": registry.pass_class("fuse"), "late": Late}
    assert order_problem(["late", "middle"], classes) == (0, "`late` must run after `middle`")
    assert order_problem(["middle", "late"], classes) is None


def test_an_error_in_a_named_pipeline_points_at_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.PIPELINES, "mine", "repeat<times=2>(fuse,quantize<samples=0>)")
    assert refusal("dead-code,mine") == ("P004", "11", "mine")


def test_rules_are_passes_of_their_own() -> None:
    for name in registry.FUSION_RULES:
        assert isinstance(build(name)[0], Rule)
