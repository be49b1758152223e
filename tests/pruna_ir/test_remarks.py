from __future__ import annotations

from pruna_ir.remarks import Reason, Remark, RemarkKind, best_first


class Counting:
    """Counts how often it is shown."""

    def __init__(self) -> None:
        self.shown = 0

    def __format__(self, spec: str) -> str:
        self.shown += 1
        return "counted"


def test_a_reason_is_formatted_only_when_read() -> None:
    value = Counting()
    remark = Remark(RemarkKind.MISSED, "fuse", "conv", Reason("`{}` has {} users", value, 2))
    assert value.shown == 0
    assert str(remark) == "missed [fuse] `conv`: `counted` has 2 users"
    assert value.shown == 1


def test_a_remark_about_the_whole_model_names_no_node() -> None:
    assert str(Remark(RemarkKind.ANALYSIS, "load", "", "opset raised")) == "analysis [load]: opset raised"


def test_json_has_the_documented_keys() -> None:
    remark = Remark(RemarkKind.PASSED, "fuse-conv-bn", "bn", Reason("fused {:.1%}", 0.5))
    assert remark.to_json() == {"kind": "passed", "pass": "fuse-conv-bn", "node": "bn", "reason": "fused 50.0%"}
    assert type(remark.to_json()["kind"]) is str


def test_braces_in_values_are_left_alone() -> None:
    assert str(Reason("`{}` is odd", "{0}")) == "`{0}` is odd"


def test_missed_remarks_are_best_first_and_the_same_reason_is_told_once() -> None:
    def miss(rule: str, node: str, reason: str, stake: int) -> Remark:
        return Remark(RemarkKind.MISSED, rule, node, reason, stake)

    found = [miss("a", "x", "no", 3), miss("b", "y", "odd", 8), miss("a", "z", "no", 6), miss("a", "w", "?", 1)]
    assert list(best_first(found)) == [
        "missed [a] `z`: no (and at 1 more)",
        "missed [b] `y`: odd",
        "missed [a] `w`: ?",
    ]
