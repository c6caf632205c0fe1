"""Description of the machine that numbers were measured on."""

from __future__ import annotations

import platform
from pathlib import Path

import psutil


def machine() -> str:
    """Cores, memory and Python."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return (
        f"{psutil.cpu_count()} shared cores ({model}), "
        f"{psutil.virtual_memory().total >> 30} GiB, Python {platform.python_version()}"
    )
