"""A member that notes when its stages begin and end: `python -m tests.bench.trace.member FILE …`.

The other arguments are rusd's. FILE gets one JSON list [stage, begin, end] a line, in nanoseconds.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from rusd import cli
from rusd.door.grpc.connection import GrpcConnection
from rusd.door.grpc.unary import UnaryCall
from rusd.raft.apply import ApplyLoop
from rusd.raft.core.core import Core
from rusd.raft.driver import Driver
from rusd.raft.log.segments import Segments
from rusd.raft.transport.connection import Connection
from rusd.storage import Engine

#: Class, method, name of the stage.
STAGES: tuple[tuple[Any, str, str], ...] = (
    (GrpcConnection, "data_received", "door: read"),
    (UnaryCall, "_run", "call"),
    (GrpcConnection, "work", "door: work and write"),
    (Connection, "data_received", "frames: read"),
    (Driver, "_turn", "turn"),
    (Core, "step", "Raft's step"),
    (Connection, "write", "frame: write"),
    (Segments, "append", "journal"),
    (os, "fdatasync", "fdatasync"),
    (ApplyLoop, "step", "apply"),
    (Engine, "write", "RocksDB"),
)


def note(notes: list[tuple[str, int, int]], stage: str, method: Callable[..., Any]) -> Any:
    """Return `method` with a note of each call."""
    clock = time.monotonic_ns

    @wraps(method)
    def noted(*args: Any) -> Any:
        began = clock()
        try:
            return method(*args)
        finally:
            notes.append((stage, began, clock()))

    return noted


def main() -> None:
    file = Path(sys.argv.pop(1))
    notes: list[tuple[str, int, int]] = []
    for owner, name, stage in STAGES:
        setattr(owner, name, note(notes, stage, getattr(owner, name)))
    atexit.register(lambda: file.write_text("".join(json.dumps(one) + "\n" for one in notes)))
    cli.console()


if __name__ == "__main__":
    main()
