"""A client's loop in a thread, at a steady pace."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

from ..client import Client

#: Calls on one key, over all clients, after which the next key takes its place: whether a long
#: history of one register is linearizable takes long to tell.
CALLS_PER_KEY = 300


class Keys:
    """A few keys that are in use, each replaced when it was called often enough."""

    def __init__(self, prefix: str, count: int) -> None:
        self._prefix = prefix
        self._lock = threading.Lock()
        self._calls = [0] * count

    def __len__(self) -> int:
        return len(self._calls)

    def use(self, number: int) -> str:
        """The key at a number, for one more call."""
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
        """One thing to do."""

    def finish(self) -> None:  # noqa: B027 - most have nothing to do
        """After the last step."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """After the step under way."""
        self.stopping.set()

    def join(self) -> None:
        """Raises the error that ended the loop."""
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
