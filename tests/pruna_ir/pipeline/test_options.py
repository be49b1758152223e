from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pytest

from pruna_ir.diagnostics import Diagnostic, PrunaError
from pruna_ir.pipeline.grammar import parse_pipeline
from pruna_ir.pipeline.options import option, options_of, print_options, read_options
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult, summary


@dataclass(frozen=True)
class Example(Pass):
    """Do one
    thing.

    And more about it.
    """

    name: ClassVar[str] = "example"
    effect: ClassVar[Effect] = Effect.EXACT

    count: int = option(1, "how many", low=1, high=9)
    share: float = option(0.5, "which part", low=0.0)
    below: float = option(-1.0, "how low", high=0.0)
    loud: bool = option(False, "whether to shout")
    mode: Literal["fast", "good"] = option("fast", "which way")
    limit: int | None = option(None, "at most", low=0)
    round_to: tuple[int, ...] = option((), "multiples", high=64)
    names: tuple[str, ...] = option(("a",), "which nodes")
    hidden: int = 3

    def run(self, model: Any, context: Any) -> PassResult:
        return PassResult()


def read(text: str) -> dict[str, Any]:
    (element,) = parse_pipeline(text)
    return read_options(Example, element, text, "-passes")


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("example", {}),
        ("example<count=9;share=2>", {"count": 9, "share": 2.0}),
        ("example<share=inf>", {"share": float("inf")}),
        ("example<loud>", {"loud": True}),
        ("example<loud=off>", {"loud": False}),
        ("example<mode=good>", {"mode": "good"}),
        ("example<limit=3>", {"limit": 3}),
        ("example<limit=none>", {"limit": None}),
        ("example<round-to=8>", {"round_to": (8,)}),
        ("example<round_to=[8,16]>", {"round_to": (8, 16)}),
        ("example<names=[]>", {"names": ()}),
        ('example<names=[head.*,op:Softmax,"a,b"]>', {"names": ("head.*", "op:Softmax", "a,b")}),
    ],
)
def test_values_are_read_by_type(text: str, arguments: dict[str, Any]) -> None:
    assert read(text) == arguments
    printed = str(Example(**arguments))
    assert Example(**read(printed)) == Example(**arguments)


def refusal(text: str) -> Diagnostic:
    with pytest.raises(PrunaError) as caught:
        read(text)
    return caught.value.diagnostic


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("example<count=ten>", "`count` takes a whole number, not `ten`"),
        ("example<count=1.5>", "`count` takes a whole number, not `1.5`"),
        ("example<count=10>", "`count` must lie between 1 and 9, not at 10"),
        ("example<share=nan>", "`share` must be a number, not nan"),
        ("example<share=-0.1>", "`share` must lie at or above 0.0, not at -0.1"),
        ("example<below=0.1>", "`below` must lie at or below 0.0, not at 0.1"),
        ("example<loud=maybe>", "`loud` is true or false, not `maybe`"),
        ("example<mode=slow>", "`mode` is one of fast, good, not `slow`"),
        ("example<limit=-1>", "`limit` must lie at or above 0, not at -1"),
        ("example<limit=x>", "`limit` takes a whole number, not `x`"),
        ("example<count=[1,2]>", "`count` takes a whole number, not a list"),
        ("example<round-to=[8,65]>", "`round-to` must lie at or below 64, not at 65"),
        ("example<names=[[a]]>", "`names` takes text, not a list"),
        ("example<count>", "`count` needs a value: a whole number"),
    ],
)
def test_bad_values_are_explained(text: str, message: str) -> None:
    diagnostic = refusal(text)
    assert (diagnostic.code, diagnostic.message) == ("P004", message)


def test_unknown_options_get_a_suggestion() -> None:
    diagnostic = refusal("example<cuont=3>")
    assert (diagnostic.code, diagnostic.help) == ("P003", "an option with a similar name exists: `count`")
    assert refusal("example<hidden=4>").code == "P003"  # a field that is no option


def test_an_option_given_twice_is_refused() -> None:
    diagnostic = refusal("example<count=1;count=2>")
    assert (diagnostic.code, diagnostic.message) == ("P004", "`count` is given twice")
    assert diagnostic.span == (16, 21)


def test_only_what_differs_from_the_default_is_printed() -> None:
    assert list(print_options(Example())) == []
    assert str(Example(limit=None, names=(), share=1e-5, loud=True)) == "example<share=1e-05;loud=true;names=[]>"


def test_types_are_described_in_words() -> None:
    assert {name: info.type_text for name, info in options_of(Example).items()} == {
        "count": "a whole number",
        "share": "a number",
        "below": "a number",
        "loud": "true or false",
        "mode": "fast | good",
        "limit": "a whole number or none",
        "round-to": "a list [a whole number,...]",
        "names": "a list [text,...]",
    }


def test_the_summary_is_the_first_paragraph_on_one_line() -> None:
    assert summary(Example) == "Do one thing."
