"""Statistics: merging, files, and refusing what no longer holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pruna_ir.calibration import Record, Statistics
from pruna_ir.diagnostics import PrunaError


def one(value: float, fingerprint: str) -> Record:
    return Record.of(np.array([value], np.float32), fingerprint=fingerprint)


@pytest.fixture
def statistics(record: Record) -> Statistics:
    return Statistics({"x": record, "y": one(2.0, "yy"), "empty": Record.empty("e")}, samples=4)


def test_it_is_a_mapping(statistics: Statistics, record: Record) -> None:
    assert statistics["x"] is record
    assert list(statistics) == ["x", "y", "empty"]
    assert len(statistics) == 3


def test_merge(statistics: Statistics) -> None:
    other = Statistics({"y": one(-1.0, "yy"), "z": one(0.0, "zz")}, samples=2)
    merged = statistics.merge(other)
    assert merged.samples == 6
    assert set(merged) == {"x", "y", "z", "empty"}
    assert (merged["y"].minimum, merged["y"].maximum, merged["y"].count) == (-1.0, 2.0, 2)
    assert merged == other.merge(statistics)


def test_merge_refuses_another_model(statistics: Statistics) -> None:
    with pytest.raises(PrunaError) as failure:
        statistics.merge(Statistics({"y": one(1.0, "other"), "x": Record.empty("abc")}))
    assert failure.value.diagnostic.code == "S001"
    assert "`y`" in str(failure.value)
    assert "`x`" not in str(failure.value)


def test_save_and_load(statistics: Statistics, tmp_path: Path) -> None:
    path = tmp_path / "statistics"  # the name is kept as it is
    statistics.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["statistics"]
    loaded = Statistics.load(path)
    assert loaded == statistics
    assert list(loaded) == list(statistics)
    Statistics({}).save(path)
    assert Statistics.load(path) == Statistics({})


def test_a_file_that_others_may_read(statistics: Statistics, tmp_path: Path) -> None:
    """As the umask says: like any other file that this process makes."""
    statistics.save(tmp_path / "statistics.npz")
    (tmp_path / "plain").touch()
    assert (tmp_path / "statistics.npz").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_unwritable_place(statistics: Statistics, tmp_path: Path) -> None:
    with pytest.raises(PrunaError) as failure:
        statistics.save(tmp_path / "none" / "statistics.npz")
    assert failure.value.diagnostic.code == "C003"


def test_for_model_refuses_exactly_what_changed(statistics: Statistics) -> None:
    here = statistics.for_model({"x": "abc", "y": "changed", "new": "n"})
    assert list(here) == ["x"]
    assert here.refused == {"y"}
    here.require(["x"])
    with pytest.raises(PrunaError) as failure:
        here.require(["x", "y"])
    assert failure.value.diagnostic.code == "S001"
    assert "changed upstream" in str(failure.value)
    assert "`y`" in str(failure.value)
    assert "`x`" not in str(failure.value)


def test_require_names_what_was_never_collected(statistics: Statistics) -> None:
    with pytest.raises(PrunaError, match="missing") as failure:
        statistics.require([f"t{index}" for index in range(20)])
    assert "and 12 more" in str(failure.value)


def test_statistics_of_another_model(statistics: Statistics) -> None:
    with pytest.raises(PrunaError) as failure:
        statistics.for_model({"x": "1", "y": "2"})
    assert failure.value.diagnostic.code == "S001"
    assert "another model" in str(failure.value)
    assert not Statistics({}).for_model({"x": "1"})
