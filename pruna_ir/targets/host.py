"""What the processor of this machine can do: the only code about hosts; the tables stay data."""

from __future__ import annotations

import platform
from pathlib import Path

_ARM = ("aarch64", "arm64")
_X86 = ("x86_64", "amd64")
_VNNI_FLAGS = frozenset({"avx512_vnni", "avx_vnni"})


def host_kind() -> str:
    """`x86-vnni`, `x86`, `arm` or `other`.

    VNNI (8-bit dot products that do not saturate) is looked up in the kernel's list of flags. Where there is none
    (Windows, macOS on Intel) an x86 processor is taken to lack it: slower at worst, never wrong.
    """
    machine = platform.machine().lower()
    if machine in _ARM:
        return "arm"
    if machine not in _X86:
        return "other"
    return "x86-vnni" if _VNNI_FLAGS & _cpu_flags() else "x86"


def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return next((frozenset(line.split()) for line in lines if line.startswith("flags")), frozenset())
