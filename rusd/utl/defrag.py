"""Defragmentation of a stopped member's data directory."""

import time
from pathlib import Path
from typing import Final

from rusd.config import load, parse_arguments
from rusd.state.machine import StateMachine
from rusd.storage import StorageError, StorageLocked

#: Seconds between two attempts to lock a directory.
_RETRY: Final = 0.1


def defragment(data_dir: Path, timeout: float) -> None:
    """Rewrite the tables of the database without deleted rows.

    A running member holds the database: waits `timeout` seconds for it, with 0 for ever. Raises
    StorageLocked then, StorageError if the directory holds no member's data or is damaged.
    """
    config = load(parse_arguments([f"--data-dir={data_dir}"]), {}).config
    if not config.identity_path.exists():
        raise StorageError(f"{config.identity_path}: no such file")
    machine = _locked(config.member_path / "state", timeout)
    try:
        machine.engine.compact()
        machine.store.defragmented()
        machine.engine.sync()
    finally:
        machine.close()


def _locked(state: Path, timeout: float) -> StateMachine:
    deadline = time.monotonic() + timeout
    while True:
        try:
            return StateMachine(state)
        except StorageLocked:
            if timeout and time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY)
