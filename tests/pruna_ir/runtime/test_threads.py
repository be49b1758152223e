"""Threads follow the cores that the process may use."""

from __future__ import annotations

import os

import pytest

from pruna_ir.runtime import threads


@pytest.mark.parametrize(("allowed", "few"), [(1, 1), (2, 2), (64, 2)])
def test_cores_that_may_be_used_count(monkeypatch: pytest.MonkeyPatch, allowed: int, few: int) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(allowed)), raising=False)
    assert threads.cores() == allowed and threads.few_threads() == few


@pytest.mark.parametrize(("known", "cores"), [(None, 1), (4, 4)])
def test_systems_without_affinity(monkeypatch: pytest.MonkeyPatch, known: int | None, cores: int) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: known)
    assert threads.cores() == cores
