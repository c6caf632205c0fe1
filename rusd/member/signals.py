"""Handles SIGTERM and SIGINT from the first line of the command to the end of the process.

    end_at_once()   nothing is open yet: the process ends with exit code 0
    StopSignals     a member runs: the first signal asks it to stop, later ones change nothing

A handler stays in place to the end: a signal never meets Python's own handlers, which end in a
traceback or in death by signal. This module imports nothing heavy, so that the command can call it
before it imports anything else.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def end_at_once() -> None:
    """Let a signal end the process with exit code 0 until the next call of this module."""
    _handle(lambda number, frame: os._exit(0))


class StopSignals:
    """Turns signals into calls on a running event loop, and remembers signals before and after."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_signal: Callable[[signal.Signals], None]
    ) -> None:
        """`on_signal` is called on the loop, once for each signal."""
        self._loop = loop
        self._on_signal = on_signal
        self._ended = False
        #: Whether any signal came, also after the loop has ended.
        self.received = False
        _handle(self._received)

    def end(self) -> None:
        """Stop calling `on_signal`, since the loop ends; later signals are only remembered."""
        self._ended = True

    def _received(self, number: int, frame: FrameType | None) -> None:
        # (Not logged here: the handler may have interrupted a write of the log.)
        self.received = True
        if not self._ended:
            self._loop.call_soon_threadsafe(self._on_signal, signal.Signals(number))


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, handler)
