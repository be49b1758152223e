from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pruna_ir.decisions import DecisionLog
from pruna_ir.diagnostics import Diagnostic, PrunaError


def never() -> Any:
    pytest.fail("a replay measures nothing")


def recorded(path: Path) -> DecisionLog:
    log = DecisionLog()
    assert log.decide("regions", lambda: {"chosen": (1, 2), 3: 0.1}) == {"chosen": [1, 2], "3": 0.1}
    log.decide("method", lambda: "mse")
    log.save(path, "model-hash", "fuse,quantize")
    return log


def test_a_replay_gives_what_was_recorded(tmp_path: Path) -> None:
    log = recorded(tmp_path / "log.json")
    replay = DecisionLog.load(tmp_path / "log.json", "model-hash", "fuse,quantize")
    assert replay.replaying
    assert [replay.decide(key, never) for key in log.entries] == list(log.entries.values())


def test_a_recorded_log_is_written_the_same_again(tmp_path: Path) -> None:
    recorded(tmp_path / "first.json")
    recorded(tmp_path / "second.json")
    assert (tmp_path / "first.json").read_bytes() == (tmp_path / "second.json").read_bytes()


def refusal(path: Path, model: str = "model-hash", pipeline: str = "fuse,quantize") -> Diagnostic:
    with pytest.raises(PrunaError) as caught:
        DecisionLog.load(path, model, pipeline)
    assert caught.value.diagnostic.code == "R001"
    return caught.value.diagnostic


def test_a_log_of_another_model_or_pipeline_is_refused(tmp_path: Path) -> None:
    recorded(tmp_path / "log.json")
    assert "the log's model is `model-hash`" in refusal(tmp_path / "log.json", model="other").message
    assert "this run's is `fuse`" in refusal(tmp_path / "log.json", pipeline="fuse").message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "{}",
        '{"format": 0}',
        '{"format": 1, "model": "model-hash", "pipeline": "fuse,quantize"}',
        '{"format": 1, "model": "model-hash", "pipeline": "fuse,quantize", "decisions": [1]}',
        "\xff",
    ],
)
def test_a_file_that_is_no_log_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "log.json").write_bytes(text.encode("latin-1"))
    refusal(tmp_path / "log.json")


def test_a_missing_log_is_refused(tmp_path: Path) -> None:
    refusal(tmp_path / "none.json")


def test_a_decision_that_the_log_lacks_is_refused(tmp_path: Path) -> None:
    recorded(tmp_path / "log.json")
    replay = DecisionLog.load(tmp_path / "log.json", "model-hash", "fuse,quantize")
    with pytest.raises(PrunaError, match="has no entry `new`") as caught:
        replay.decide("new", never)
    assert caught.value.diagnostic.code == "R001"


def test_a_log_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PrunaError) as caught:
        DecisionLog().save(tmp_path / "none" / "log.json", "m", "p")
    assert caught.value.diagnostic.code == "C003"


def test_deciding_the_same_twice_is_a_bug_of_the_pass() -> None:
    log = DecisionLog()
    log.decide("key", lambda: 1)
    with pytest.raises(AssertionError, match="decided twice: key"):
        log.decide("key", lambda: 1)
