from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pruna_ir.data.user_code import load_function


def test_files_and_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_loader_module.py").write_text("def one(): return 1\n")
    assert load_function("my_loader_module.py:one", tmp_path)() == 1
    path = list(sys.path)
    monkeypatch.delitem(sys.modules, "my_loader_module", raising=False)
    assert load_function("my_loader_module:one", tmp_path)() == 1
    assert sys.path == path
    monkeypatch.delitem(sys.modules, "my_loader_module")


def test_refusals(tmp_path: Path, refuses: Any) -> None:
    (tmp_path / "scores.py").write_text("def spearman(): return 1\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "needs_more.py").write_text("import a_module_that_is_not_there\n")
    with refuses("D001", "`spearmann`", "`spearman`"):
        load_function("scores.py:spearmann", tmp_path)
    with refuses("D001", "no such file"):
        load_function("score.py:spearman", tmp_path)
    with refuses("D001", "no such file or module: `no_such_module`"):
        load_function("no_such_module:f", tmp_path)
    with refuses("D008", "ZeroDivisionError"):
        load_function("broken.py:f", tmp_path)
    with refuses("D008", "a_module_that_is_not_there"):
        load_function("needs_more:f", tmp_path)
    with refuses("D001", "module:function"):
        load_function("scores.py:", tmp_path)
