"""The example of docs/axes.md works as it is written there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pruna_ir.analysis.axes import rules

PAGE = Path(__file__).resolve().parents[4] / "docs" / "axes.md"
RULE, TESTS, SIGNATURES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    return names


def examples() -> list[Callable[[], None]]:
    return [value for name, value in run(TESTS).items() if name.startswith("test_")]


@pytest.mark.parametrize("check", examples(), ids=lambda check: check.__name__)
def test_example(check: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError):
        check()
    for op, rule in run(RULE)["RULES"].items():
        assert op not in rules.RULES, "the example has a rule by now: take another"
        monkeypatch.setitem(rules.RULES, op, rule)
    check()


def test_signatures() -> None:
    """What the page shows as signatures is what the rules are."""
    shown = re.findall(r'"(\w+)": AxisRule\(Signature\("(.*?)"\)\)', SIGNATURES)
    assert shown
    sources = "".join(path.read_text() for path in Path(rules.__file__).parent.glob("*.py"))
    for op, text in shown:
        assert op in rules.RULES
        assert text in sources
