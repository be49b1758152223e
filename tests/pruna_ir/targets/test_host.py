"""Detecting what the processor can do."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from pruna_ir.targets import host, ort_cpu


@pytest.mark.parametrize(
    ("machine", "flags", "kind"),
    [
        ("x86_64", "fpu avx2 avx512_vnni", "x86-vnni"),
        ("x86_64", "fpu avx2 avx_vnni", "x86-vnni"),
        ("AMD64", "fpu avx2", "x86"),
        ("aarch64", "", "arm"),
        ("arm64", "", "arm"),
        ("riscv64", "", "other"),
    ],
)
def test_kinds(machine: str, flags: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(Path, "read_text", lambda self: f"processor : 0\nflags : {flags}\n")
    assert host.host_kind() == kind
    assert ort_cpu._BY_HOST[kind].name.startswith("ort-")


def test_x86_without_a_list_of_flags_is_taken_to_lack_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: Path) -> str:
        raise FileNotFoundError(self)

    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(Path, "read_text", missing)
    assert host.host_kind() == "x86"
