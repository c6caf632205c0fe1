"""Injects the faults of a schedule, one after the other or two at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from . import faults
from .faults import ActiveFault
from .history import Fault, History
from .schedule import ALONE, Step
from .subject import Subject

#: Called with a fault: (kind, names of members, whether it begins).
Listener = Callable[[str, tuple[str, ...], bool], None]


class Nemesis:
    """Runs in the thread that calls `run`; overlapping faults heal in threads of their own."""

    def __init__(
        self, subject: Subject, history: History, clock: Callable[[], float], listener: Listener
    ) -> None:
        self._subject = subject
        self._history = history
        self._clock = clock
        self._listener = listener
        self._number = 0
        self._healing: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def run(self, steps: Sequence[Step], until: float) -> None:
        """Runs all steps, or those that begin before the time `until`. Heals everything after them.

        Raises the first error of healing, after which no step begins; a step that was beginning
        then fails for it as well.
        """
        try:
            self._begin_all(steps, until)
        except Exception as error:
            self._join()
            if self._errors:
                raise self._errors[0] from error
            raise
        self._join()
        self._subject.heal()
        if self._errors:
            raise self._errors[0]

    def _begin_all(self, steps: Sequence[Step], until: float) -> None:
        healing: threading.Thread | None = None
        for step in steps:
            if step.kind in ALONE:
                self._join()
            elif healing is not None and not step.overlaps:
                healing.join()
            time.sleep(step.after)
            if self._errors or self._clock() >= until:
                break
            self._subject.note_ends()
            self._number += 1
            began = self._clock()
            broken = faults.begin(self._subject, step)
            names = self._subject.names(broken.targets)
            self._listener(step.kind, names, True)
            healing = threading.Thread(
                target=self._heal, args=(self._number, step, broken, names, began), daemon=True
            )
            healing.start()
            self._healing = [one for one in self._healing if one.is_alive()] + [healing]

    def _join(self) -> None:
        for one in self._healing:
            one.join()

    def _heal(
        self, number: int, step: Step, broken: ActiveFault, names: tuple[str, ...], began: float
    ) -> None:
        time.sleep(step.lasts)
        try:
            broken.heal()
        except BaseException as error:  # noqa: BLE001
            # Kept for the run, which raises it: a thread has no caller.
            self._errors.append(error)
        self._listener(step.kind, names, False)
        self._history.add(Fault(number, step.kind, names, began, self._clock(), broken.detail))
