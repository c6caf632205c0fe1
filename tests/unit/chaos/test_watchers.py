"""A watcher and streams that fall silent."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from cluster.chaos.history import History
from cluster.chaos.workloads import watchers
from cluster.chaos.workloads.watchers import Watcher


class Silent:
    """A stream that never ends, not even when it is cancelled."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def __iter__(self) -> Silent:
        return self

    def __next__(self) -> None:
        threading.Event().wait()

    def cancel(self) -> None:
        self.cancelled.set()


class SilentClient:
    """The part of a client that a watcher uses; every stream of it is silent."""

    names = ("m0",)

    def __init__(self) -> None:
        self.history = History()
        self.connections = self
        self.streams: list[Silent] = []
        self.opened = threading.Semaphore(0)
        self._time = 0.0

    def clock(self) -> float:
        self._time += 1.0
        return self._time

    def stream(self, *_: Any) -> Silent:
        self.streams.append(Silent())
        self.opened.release()
        return self.streams[-1]


def test_a_stream_that_never_ends_is_given_up_and_another_one_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watchers, "PROGRESS", 0.01)
    monkeypatch.setattr(watchers, "AGAIN", 0.0)
    client = SilentClient()
    watcher = Watcher("on m0", client, 0)  # type: ignore[arg-type]
    watcher.start()
    assert client.opened.acquire(timeout=10) and client.opened.acquire(timeout=10)
    watcher.stop()
    watcher.join()
    assert all(stream.cancelled.is_set() for stream in client.streams)
    assert {delivery.kind for delivery in client.history.deliveries} == {"broken"}
