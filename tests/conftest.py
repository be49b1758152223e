"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# No deadline: the first example pays for imports. Continuous integration draws the same examples each time.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of trained models and data that are not part of the repository; skips where it is absent.

    It is `shared` beside the repository, or what the environment variable PRUNA_SHARED names.
    """
    folder = Path(os.environ.get("PRUNA_SHARED", ROOT.parent / "shared"))
    missing = [name for name in ("models", "data") if not (folder / name).is_dir()]
    if missing:
        pytest.skip(f"no {' and '.join(missing)} in {folder} (PRUNA_SHARED names another folder)")
    return folder
