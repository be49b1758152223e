from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pruna_ir.instruments.line_diff import edits, hunks

listings = st.lists(st.sampled_from("abcdefgh") | st.integers(0, 30).map(str), max_size=15)


@given(listings, listings)
def test_the_edits_rebuild_both_listings(before: list[str], after: list[str]) -> None:
    found = list(edits(before, after))
    assert [line for mark, line in found if mark != "+"] == before
    assert [line for mark, line in found if mark != "-"] == after


@given(listings)
def test_equal_listings_have_no_edits(listing: list[str]) -> None:
    assert all(mark == " " for mark, _ in edits(listing, listing))
    assert list(hunks(listing, listing)) == []


@given(st.lists(st.integers(), unique=True, max_size=20), st.data())
def test_of_different_lines_only_what_changed_is_shown(numbers: list[int], data: st.DataObject) -> None:
    before = [str(number) for number in numbers]
    kept = [line for line in before if data.draw(st.booleans())]
    assert [line for mark, line in edits(before, kept) if mark == "-"] == [line for line in before if line not in kept]
    assert all(mark != "+" for mark, _ in edits(before, kept))


def test_runs_of_changes_have_a_head() -> None:
    before = [str(number) for number in range(1, 11)]
    after = ["1", "2", "two and a half", "3", "4", "5", "6", "7", "9", "10"]
    assert list(hunks(before, after)) == [
        "@@ -2 +2 @@",
        "  2",
        "+ two and a half",
        "  3",
        "@@ -7 +8 @@",
        "  7",
        "- 8",
        "  9",
    ]


def test_a_line_that_moved_is_removed_and_added() -> None:
    assert list(edits(["a", "b", "c", "d"], ["b", "c", "d", "a"])) == [
        ("-", "a"),
        (" ", "b"),
        (" ", "c"),
        (" ", "d"),
        ("+", "a"),
    ]


def test_lines_that_come_twice_are_kept_where_they_can_be() -> None:
    assert list(edits(["{", "}", "}"], ["{", "x", "}", "}"])) == [
        (" ", "{"),
        ("+", "x"),
        (" ", "}"),
        (" ", "}"),
    ]
