"""A client's loop in a thread, at a steady pace."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

from ..client import Client

#: Calls on one key, over all clients, after which a new key replaces it: the cost of the
#: linearizability check grows with the length of a key's history.
CALLS_PER_KEY = 300


class Keys:
    """The keys in use, each replaced after a number of calls."""

    def __init__(self, prefix: str, count: int) -> None:
        self._prefix = prefix
        self._lock = threading.Lock()
        self._calls = [0] * count

    def __len__(self) -> int:
        return len(self._calls)

    def use(self, number: int) -> str:
        """Return the key at a number, and count one call."""
        with self._lock:
            self._calls[number] += 1
            generation = self._calls[number] // CALLS_PER_KEY
        return f"{self._prefix}/{number}/{generation}"


class Worker(ABC):
    """Repeats `step` until it is stopped."""

    def __init__(self, client: Client, rate: float) -> None:
        """`rate`: steps per second."""
        self.client = client
        self._rate = rate
        self.stopping = threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    @abstractmethod
    def step(self) -> None:
        """Run one iteration."""

    def finish(self) -> None:  # noqa: B027 - most have nothing to do
        """Clean up after the last step."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current step."""
        self.stopping.set()

    def join(self) -> None:
        """Wait for the thread; raises the error that ended the loop."""
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        clock = self.client.clock
        due = clock()
        try:
            while not self.stopping.is_set():
                self.step()
                # A delayed worker does not catch up.
                due = max(clock(), due + 1 / self._rate)
                self.stopping.wait(due - clock())
            self.finish()
        except BaseException as error:  # noqa: BLE001
            # Kept for the run, which raises it: a thread has no caller.
            self.error = error
