from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pruna_ir.decisions import DecisionLog, Identity
from pruna_ir.diagnostics import Diagnostic, PrunaError
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.targets.ort_cpu import ARM, X86_VNNI

TEXT = '<ir_version: 8, opset_import: ["" : 17]> g (float[3] x) => (float[3] y) { y = Relu (x) }'


RUN = Identity("model-hash", "fuse,quantize", "ort-cpu: a table")


def never() -> Any:
    pytest.fail("a replay measures nothing")


def recorded(path: Path) -> DecisionLog:
    log = DecisionLog()
    assert log.decide("regions", lambda: {"chosen": (1, 2), 3: 0.1}) == {"chosen": [1, 2], "3": 0.1}
    log.decide("method", lambda: "mse")
    log.save(path, RUN)
    return log


def test_a_replay_gives_what_was_recorded(tmp_path: Path) -> None:
    log = recorded(tmp_path / "log.json")
    replay = DecisionLog.load(tmp_path / "log.json", RUN)
    assert replay.replaying
    assert [replay.decide(key, never) for key in log.entries] == list(log.entries.values())


def test_a_recorded_log_is_written_the_same_again(tmp_path: Path) -> None:
    recorded(tmp_path / "first.json")
    recorded(tmp_path / "second.json")
    assert (tmp_path / "first.json").read_bytes() == (tmp_path / "second.json").read_bytes()


def refusal(path: Path, run: Identity = RUN) -> Diagnostic:
    with pytest.raises(PrunaError) as caught:
        DecisionLog.load(path, run)
    assert caught.value.diagnostic.code == "R001"
    return caught.value.diagnostic


@pytest.mark.parametrize("field", ["model", "pipeline", "target"])
def test_a_log_of_another_run_is_refused(tmp_path: Path, field: str) -> None:
    recorded(tmp_path / "log.json")
    message = refusal(tmp_path / "log.json", replace(RUN, **{field: "other"})).message
    assert message == f"the log's {field} is `{getattr(RUN, field)}`, this run's is `other`"


def test_a_table_of_the_same_name_on_another_processor_is_another_target() -> None:
    """`ort-cpu` is the table for the machine that runs."""
    model, manager = Model.from_text(TEXT), PassManager([])
    here, there = (replace(table, name="ort-cpu") for table in (X86_VNNI, ARM))
    assert Identity.of(model, manager, here) == Identity.of(model.clone(), manager, here)
    assert Identity.of(model, manager, here) != Identity.of(model, manager, there)


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
        json.dumps({"format": 1, **asdict(RUN)}),
        json.dumps({"format": 1, **asdict(RUN), "decisions": [1]}),
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
    replay = DecisionLog.load(tmp_path / "log.json", RUN)
    with pytest.raises(PrunaError, match="has no entry `new`") as caught:
        replay.decide("new", never)
    assert caught.value.diagnostic.code == "R001"


def test_a_log_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PrunaError) as caught:
        DecisionLog().save(tmp_path / "none" / "log.json", RUN)
    assert caught.value.diagnostic.code == "C003"


def test_a_key_that_is_asked_for_again_is_numbered() -> None:
    log = DecisionLog()
    values = iter((1, 2))
    assert [log.decide("key", lambda: next(values)) for _ in range(2)] == [1, 2]
    assert log.entries == {"key": 1, "key #2": 2}
    replay = DecisionLog(log.entries, replaying=True)
    assert [replay.decide("key", never) for _ in range(2)] == [1, 2]
    with pytest.raises(PrunaError, match="has no entry `key #3`"):
        replay.decide("key", never)
