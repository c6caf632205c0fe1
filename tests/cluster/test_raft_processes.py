"""Three member processes, kill -9, and the promise: what was acknowledged is there, once."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_ports

MEMBERS = (1, 2, 3)


class Process:
    """The process of one member, and its output."""

    def __init__(self, member: int, ports: list[int], directory: Path) -> None:
        self.member = member
        self.acknowledged: list[str] = []
        self.failures: list[str] = []
        self.last_ack = 0.0
        self._answers: dict[str, str] = {}
        self._arrived = threading.Condition()
        directory.mkdir(exist_ok=True)
        self._log = (directory / "stderr").open("ab")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.support.toy_member"),
                *(str(member), ",".join(map(str, ports)), str(directory)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.answer("ready", 20)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            kind, _, rest = line.rstrip("\n").partition(" ")
            if not line.endswith("\n"):
                break  # killed in the middle of a word
            if kind == "ack":
                self.acknowledged.append(rest)
                self.last_ack = time.monotonic()
            elif kind == "failed":
                self.failures.append(rest)
            else:
                with self._arrived:
                    self._answers[kind] = rest
                    self._arrived.notify_all()

    def say(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self, kind: str, timeout: float = 15) -> str:
        with self._arrived:
            assert self._arrived.wait_for(lambda: kind in self._answers, timeout), (
                f"member {self.member} says no {kind!r}; exit code {self.process.poll()}"
            )
            return self._answers.pop(kind)

    def status(self) -> tuple[int, int, int, int]:
        self.say("status")
        leader, term, applied, commit = map(int, self.answer("status").split())
        return leader, term, applied, commit

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self._log.close()


class Cluster:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ports = free_ports(len(MEMBERS))
        self.lives: list[Process] = []
        self.running = {member: self.start(member) for member in MEMBERS}

    def start(self, member: int) -> Process:
        process = Process(member, self.ports, self.directory / str(member))
        self.lives.append(process)
        self.running = {**getattr(self, "running", {}), member: process}
        return process

    def kill(self, member: int) -> None:
        self.running.pop(member).kill()

    def leader(self) -> int:
        found: list[int] = []

        def agreed() -> bool:
            views = {process.status()[:2] for process in self.running.values()}
            found[:] = [leader for leader, _ in views]
            return len(views) == 1 and found[0] in self.running

        until(agreed)
        return found[0]

    def acknowledge(self, member: int, count: int) -> None:
        """Wait until a member has acknowledged `count` proposals of its own."""
        process = self.running[member]
        before = len(process.acknowledged)
        process.say("load 5")
        until(lambda: len(process.acknowledged) > before + count)
        process.say("idle")
        process.answer("idle")

    def settle(self) -> list[str]:
        """End the load and wait until all have applied the same; that."""
        for process in self.running.values():
            process.say("idle")
        for process in self.running.values():
            process.answer("idle")
        until(lambda: len({process.status()[2:] for process in self.running.values()}) == 1)
        states = []
        for process in self.running.values():
            process.say("dump")
            states.append(json.loads(process.answer("dump")))
        assert states[0] == states[1] == states[2]
        applied: list[str] = states[0]
        return applied

    def close(self) -> None:
        for member in list(self.running):
            self.kill(member)


def until(condition: Callable[[], bool], timeout: float = 20) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.02)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


def test_no_acknowledged_write_is_lost_and_none_is_applied_twice(cluster: Cluster) -> None:
    chance = random.Random(5)
    cluster.leader()
    for process in cluster.running.values():
        process.say("load 20")
    for _ in range(6):
        counts = {member: len(one.acknowledged) for member, one in cluster.running.items()}
        until(
            lambda counts=counts: all(  # type: ignore[misc]
                len(cluster.running[member].acknowledged) > count + 200
                for member, count in counts.items()
            )
        )
        victims = chance.sample(MEMBERS, chance.choice([1, 1, 2, 3]))
        if chance.random() < 0.5:
            victims = list({cluster.leader(), *victims[1:]})
        for member in victims:
            cluster.kill(member)
        for member in victims:
            cluster.start(member).say("load 20")
    applied = cluster.settle()
    acknowledged = [text for life in cluster.lives for text in life.acknowledged]
    assert len(acknowledged) > 3000
    assert set(acknowledged) <= set(applied), "acknowledged, but lost"
    assert max(Counter(applied).values()) == 1, "applied twice"


def test_writes_go_on_soon_after_the_leader_was_killed(cluster: Cluster) -> None:
    leader = cluster.leader()
    survivors = [process for member, process in cluster.running.items() if member != leader]
    for process in survivors:
        process.say("load 5")
    until(lambda: all(process.acknowledged for process in survivors))
    killed = time.monotonic()
    cluster.kill(leader)
    counts = [len(process.acknowledged) for process in survivors]
    until(
        lambda: all(
            len(process.acknowledged) > count + 50
            for process, count in zip(survivors, counts, strict=True)
        )
    )
    assert time.monotonic() - killed < 6.0  # an election takes 1 to 2 s on an idle machine
    assert [process.failures for process in survivors] == [[], []]


def test_processes_that_were_stopped_keep_their_leader(cluster: Cluster) -> None:
    """All of them at once, as when the machine below them is suspended: when they go on, what the
    others had sent still waits in their sockets.
    """
    for _ in range(4):
        leader = cluster.leader()
        views = [process.status()[:2] for process in cluster.running.values()]
        for process in cluster.running.values():
            process.process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)  # 1.5 election timeouts; nothing can be observed meanwhile
        for process in cluster.running.values():
            process.process.send_signal(signal.SIGCONT)
        cluster.acknowledge(leader, 50)
        assert [process.status()[:2] for process in cluster.running.values()] == views
