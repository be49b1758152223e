from __future__ import annotations

import re
from pathlib import Path

import pytest

import pruna_ir
from pruna_ir.diagnostics import CODES, FAILED, USAGE, PrunaError, did_you_mean, error

ROOT = Path(pruna_ir.__file__).parents[1]


def test_a_diagnostic_shows_all_its_parts() -> None:
    failure = error("M001", "no such file", place="m.onnx", help="look again", notes=["first", "second"])
    assert str(failure).splitlines() == [
        "error[M001]: no such file",
        "  --> m.onnx",
        "  = help: look again",
        "  = note: first",
        "  = note: second",
    ]


def test_a_span_is_underlined() -> None:
    failure = error("P002", "unknown pass", place="-passes:1:6", source="fuse,fize", span=(5, 9), help="`fuse`?")
    assert str(failure).splitlines() == [
        "error[P002]: unknown pass",
        "  --> -passes:1:6",
        "  | fuse,fize",
        "  |      ^^^^ help: `fuse`?",
    ]


def test_an_empty_span_still_points() -> None:
    assert str(error("P001", "expected a value", source="a<b=", span=(4, 4))).splitlines()[-1] == "  |     ^"


def test_the_least_is_one_line() -> None:
    assert str(error("P007", "it failed")) == "error[P007]: it failed"


def test_exit_codes() -> None:
    assert error("P001", "x").exit_code == USAGE == 2
    assert error("M001", "x").exit_code == FAILED == 1


def test_a_place_may_be_a_path() -> None:
    failure = error("M001", "x", place=Path("a") / "b")
    assert failure.diagnostic.place == str(Path("a") / "b")
    assert failure.args == ("x",)


def test_unknown_codes_are_bugs() -> None:
    with pytest.raises(AssertionError, match="M999"):
        error("M999", "x")


@pytest.mark.parametrize(
    ("word", "known", "help"),
    [
        ("fuze", ["fuse", "quantize"], "a pass with a similar name exists: `fuse`"),
        ("zzz", ["fuse", "dead-code"], "known: dead-code, fuse"),
        ("zzz", [], "there is no pass to name"),
    ],
)
def test_the_closest_word_is_suggested(word: str, known: list[str], help: str) -> None:
    assert did_you_mean(word, known, "pass") == help


def sources() -> list[Path]:
    folders = ("pruna_ir", "passes", "backends", "tools")
    # The links inside of the package lead to the other three folders again.
    return sorted({path.resolve() for folder in folders for path in (ROOT / folder).rglob("*.py")})


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_is_used_and_explained(code: str) -> None:
    assert re.fullmatch(r"[A-Z]\d{3}", code)
    assert CODES[code].meaning.endswith(".")
    used = [path for path in sources() if path.name != "diagnostics.py" and f'"{code}"' in path.read_text()]
    assert used, f"nothing raises {code}"


def test_only_known_codes_are_raised() -> None:
    raised = {code for path in sources() for code in re.findall(r'\berror\(\s*"([A-Z]\d{3})"', path.read_text())}
    assert raised <= CODES.keys()


def test_a_diagnostic_is_the_only_exception_that_users_see() -> None:
    assert issubclass(PrunaError, Exception)
    assert not issubclass(PrunaError, ValueError | OSError)
