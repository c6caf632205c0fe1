"""A history on disk is the history that was written."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cluster.chaos.history import (
    Action,
    Change,
    Delivery,
    Fault,
    Final,
    History,
    Leadership,
    LeaseCall,
    LockHold,
    Operation,
    Outcome,
)

CHANGE = Change("k", "v", 3, 2, 2)
RECORDS = [
    Operation(1, Action.CAS, "k", "m1", 0.5, None, Outcome.UNKNOWN, "b", "a", group=4),
    Delivery("w", "m1", 1.0, "events", 3, (CHANGE, Change("k", None, 4))),
    LeaseCall(1, 77, "grant", "m1", 0.1, 0.2, Outcome.OK, 3, "lease/k"),
    LockHold(1, "lock/0/", 77, 5, 0.3, None, (6, 7)),
    Fault(1, "kill-one", ("m1",), 1.0, 2.0, "why"),
    Leadership(1.5, "m2", 3),
    Final("m1", 9, 0, 4711, {"k": ("v", 3, 2)}, (CHANGE,)),
]


def test_every_kind_of_record_comes_back_from_the_file(tmp_path: Path) -> None:
    history = History(about={"seed": 7, "unavailable": ["loss"]})
    for record in RECORDS:
        history.add(record)
    history.save(tmp_path / "history.jsonl")
    found = History.load(tmp_path / "history.jsonl")
    assert found == history
    assert list(found.records()) == RECORDS


@pytest.mark.parametrize("line", ["", "[]", '{"record": "Rumour"}', '{"record": "Fault"}'])
def test_what_is_no_history_is_refused_with_the_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"record": "about"}\n' + line + "\n")
    with pytest.raises(ValueError, match="line 2"):
        History.load(path)


def test_several_threads_may_write_one_history() -> None:
    history = History()

    def write() -> None:
        for number in range(1000):
            history.add(Leadership(float(number), "m1", number))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(history.leaders) == 4000
