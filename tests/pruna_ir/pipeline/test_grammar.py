from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruna_ir.diagnostics import PrunaError
from pruna_ir.pipeline.grammar import Element, Listing, Option, Scalar, parse_pipeline, print_pipeline

# What the grammar is made of, some of it twice so that whole constructs come up.
ALPHABET = [
    "fuse",
    "repeat<times=2>(",
    "a",
    "-",
    "1",
    "0.5",
    "<",
    ">",
    ";",
    "=",
    "[",
    "]",
    ",",
    "(",
    ")",
    '"',
    "\\",
    " ",
]

names = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=8).filter(
    lambda name: name[0].isalpha()
)
scalars = st.builds(Scalar, st.text(max_size=8))
values = st.recursive(scalars, lambda inner: st.builds(Listing, st.lists(inner, max_size=3).map(tuple)), max_leaves=5)
options = st.lists(st.builds(Option, names, st.none() | values), max_size=3).map(tuple)
leaves = st.builds(Element, names, options)
elements = st.recursive(
    leaves, lambda inner: st.builds(Element, names, options, st.lists(inner, max_size=3).map(tuple)), max_leaves=5
)


@given(st.lists(elements, max_size=4).map(tuple))
def test_what_is_printed_parses_to_the_same(pipeline: tuple[Element, ...]) -> None:
    assert parse_pipeline(print_pipeline(pipeline)) == pipeline


@given(st.lists(st.sampled_from(ALPHABET), max_size=12).map("".join) | st.text(max_size=12))
def test_any_text_parses_or_is_refused_with_a_place(text: str) -> None:
    try:
        pipeline = parse_pipeline(text)
    except PrunaError as failure:
        diagnostic = failure.diagnostic
        assert (diagnostic.code, diagnostic.source) == ("P001", text)
        assert diagnostic.span is not None
        assert 0 <= diagnostic.span[0] <= len(text)
        assert diagnostic.place == f"-passes:1:{diagnostic.span[0] + 1}"
        assert failure.exit_code == 2
    else:
        assert parse_pipeline(print_pipeline(pipeline)) == pipeline


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("fuse,", 6, "expected the name of a pass"),
        (",fuse", 1, "expected the name of a pass"),
        ("fuse fuse", 6, "unexpected `f`"),
        ("fuse<", 6, "expected the name of an option"),
        ("fuse<a=", 8, "expected a value"),
        ("fuse<a=1", 9, "expected `>`"),
        ("fuse<a=[1,2>", 12, "expected `]`"),
        ("fuse<a=1,b=2>", 9, "expected `>`"),
        ('fuse<a="b>', 8, "expected a value"),
        ("fuse(a", 7, "expected `)`"),
        ("fuse)", 5, "unexpected `)`"),
        ("2fuse", 1, "expected the name of a pass"),
    ],
)
def test_a_syntax_error_points_at_its_place(text: str, column: int, message: str) -> None:
    with pytest.raises(PrunaError) as caught:
        parse_pipeline(text)
    assert caught.value.diagnostic.place == f"-passes:1:{column}"
    assert caught.value.diagnostic.message == message


@pytest.mark.parametrize("text", ["a(" * 5000, "a<b=" + "[" * 5000])
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(PrunaError, match="nested deeper"):
        parse_pipeline(text)


def test_spaces_do_not_matter() -> None:
    assert parse_pipeline(" a < b = [ 1 , 2 ] ; c > , d ( e ) ") == parse_pipeline("a<b=[1,2];c>,d(e)")


def test_no_text_is_no_pass() -> None:
    assert parse_pipeline("  ") == ()
