"""Which machine this is, and since when it runs: so what a kill left behind is told from what others have at work.

A path alone doesn't tell it: in containers every host has the same. Nor does the host's name: it is the same after the
machine was started again, and then nothing of before lives.
"""

import hashlib
import platform
import time
from functools import cache
from pathlib import Path

MACHINE_ID, BOOT_ID = Path("/etc/machine-id"), Path("/proc/sys/kernel/random/boot_id")
SLACK = 60.0  # seconds that two clocks may differ by


def place() -> str:
    """What stands for this folder on this host, and tells neither's name."""
    return _sum(platform.node(), _read(MACHINE_ID), str(Path.cwd()))


@cache
def boot() -> str:
    """What stands for this host since it was last started."""
    return _sum(_read(BOOT_ID) or f"{booted_at():.0f}")


@cache
def booted_at() -> float:
    """When the host was started, in seconds since 1970."""
    import psutil

    return float(psutil.boot_time())


def is_dead(its_place: str, its_boot: str, started: float) -> bool:
    """Whether what was at work there is dead, asked by the only one who may be at work in this folder.

    Args:
        its_place: what `place` said there.
        its_boot: what `boot` said there.
        started: when, in seconds since 1970.
    """
    if its_place != place():
        return False
    return its_boot == boot() or started < min(booted_at(), time.time()) + SLACK


def _sum(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
