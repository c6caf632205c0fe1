"""A PostgreSQL cluster that Patroni runs: each node a process tree in its own PID namespace.

    with PostgresCluster(2, {"hosts": ["127.0.0.1:2379"]}) as postgres:
        postgres.wait_running()
        postgres.query(postgres.leader(), "select 1")
        postgres.kill(postgres.leader())      # Patroni and PostgreSQL end at once

PostgreSQL refuses to run as root: a user namespace shows it the user `postgres`, whose files belong
outside to the user of this process. Needs Debian's package `postgresql`. Nodes end with the
process that started them. Patroni takes its settings from a file for each node, and patronictl
reads the same files.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from cluster.ports import HOST, Claim
from cluster.process import Guard
from tests.clients.installation import BUILT, PYTHON, installed
from tests.support.waiting import wait

#: User that PostgreSQL runs as.
OWNER = "postgres"
PASSWORD = "secret"
SCOPE = "main"
#: Seconds: the lease of the leader (20 is the least that Patroni takes), the pause between two
#: rounds of Patroni, and how long it tries a request again.
TTL, LOOP_WAIT, RETRY_TIMEOUT = 20, 1, 5
#: Seconds for a change that Patroni makes, and for one that waits for a lease to run out.
TIMEOUT, FAILOVER_TIMEOUT = 60.0, 90.0


class PostgresCluster:
    """Nodes are named pg-0, pg-1, … and addressed by index."""

    def __init__(self, size: int, etcd3: Mapping[str, Any]) -> None:
        """`etcd3`: Patroni's settings of that name (hosts, username, cacert and so on)."""
        self._claim = Claim()
        self._directory = Path(tempfile.mkdtemp(prefix="rusd-postgres-"))
        self._guard = Guard(self._directory)
        self._patroni = patroni() / "venv" / "bin"
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        numbers = self._claim.any(2 * size)
        self._ports, self._rest = numbers[:size], numbers[size:]
        for index in range(size):
            home = self._directory / f"pg-{index}"
            home.mkdir()
            settings = self._settings(index, home, etcd3)
            self._file(index).write_text(json.dumps(settings))

    def __enter__(self) -> Self:
        for index in range(len(self._ports)):
            self.start(index)
        return self

    def __exit__(self, *reason: object) -> None:
        for index in list(self._processes):
            self.kill(index)
        self._guard.close()
        self._claim.release()

    # --- nodes --------------------------------------------------------------------------------

    def start(self, index: int) -> None:
        """Start Patroni, which starts PostgreSQL."""
        user = pwd.getpwnam(OWNER)
        # Patroni is the namespace's first process: when it ends, the kernel kills the others.
        namespaces = ["--user", "--pid", "--ipc", "--mount-proc", "--fork", "--kill-child"]
        identity = [f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}"]
        with self._log(index).open("ab") as log:
            self._processes[index] = subprocess.Popen(
                ["unshare", *namespaces, *identity, f"{self._patroni}/patroni", self._file(index)],
                cwd=self._directory,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=self._guard.group,
            )

    def kill(self, index: int) -> None:
        """SIGKILL to Patroni and PostgreSQL at once, as when a machine fails."""
        process = self._processes.pop(index)
        if process.poll() is None:
            # unshare waits for the namespace's first process, which ends after all others.
            (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(first), signal.SIGKILL)
        process.wait()

    def wait_ended(self, index: int, timeout: float = TIMEOUT) -> None:
        """Wait until Patroni ends by itself."""
        self._processes[index].wait(timeout)

    @property
    def running(self) -> list[int]:
        """Indices of the nodes that were started and not killed."""
        return list(self._processes)

    # --- questions ----------------------------------------------------------------------------

    def node(self, index: int) -> dict[str, Any] | None:
        """What Patroni says of its node, or None if it does not answer."""
        try:
            with urllib.request.urlopen(
                f"http://{HOST}:{self._rest[index]}/patroni", None, 5
            ) as got:
                found: dict[str, Any] = json.load(got)
        except urllib.error.HTTPError as refused:
            found = json.load(refused)
        except (OSError, ValueError):
            return None
        return found

    def leader(self, timeout: float = TIMEOUT) -> int:
        """Index of the node whose PostgreSQL takes writes; waits for one."""
        return wait(self._leader, lambda: f"no leader\n{self.logs()}", timeout)

    def wait_running(self, timeout: float = TIMEOUT) -> int:
        """Wait until one node is leader and each other one streams from it; return the leader."""
        return wait(self._running, lambda: f"not running\n{self.logs()}", timeout)

    def query(self, index: int, statement: str, timeout: float = 5) -> str:
        """Return the output of psql. Raises CalledProcessError if PostgreSQL refuses or does not
        run.
        """
        address = f"host={HOST} port={self._ports[index]} user={OWNER} dbname=postgres"
        command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement]
        return subprocess.run(
            [*command, f"{address} connect_timeout=3"],
            env={**os.environ, "PGPASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            check=True,
            timeout=timeout,
        ).stdout.strip()

    def patronictl(self, *arguments: str) -> str:
        """Return the output of patronictl, which reads the store itself."""
        running = min(self._processes)
        done = subprocess.run(
            [f"{self._patroni}/patronictl", "-c", str(self._file(running)), *arguments],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert done.returncode == 0, f"patronictl {arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def members(self) -> dict[str, dict[str, Any]]:
        """The rows of `patronictl list`, by the name of the member."""
        rows = json.loads(self.patronictl("list", "--format", "json"))
        return {row["Member"]: row for row in rows}

    def instance(self, index: int) -> tuple[str, str, str]:
        """When PostgreSQL started, whether it takes writes, and its timeline: all the same as long
        as it is neither restarted nor demoted.
        """
        started, standby = self.query(
            index, "select pg_postmaster_start_time(), pg_is_in_recovery()"
        ).split("|")
        return started, standby, str((self.node(index) or {}).get("timeline"))

    def wait_seen(self, moment: float, timeout: float = TIMEOUT) -> None:
        """Wait until every node has read from the store after `moment` (of time.time)."""

        def seen() -> bool | None:
            nodes = [self.node(index) for index in self._processes]
            return all(node and node.get("dcs_last_seen", 0) > moment for node in nodes) or None

        wait(seen, lambda: f"the store is not read\n{self.logs()}", timeout)

    def name(self, index: int) -> str:
        return f"pg-{index}"

    def logs(self, lines: int = 25) -> str:
        """The ends of the nodes' logs, for error messages."""
        tails = []
        for index in range(len(self._ports)):
            text = self._log(index).read_text() if self._log(index).exists() else ""
            tails += [f"--- {self.name(index)}", *text.splitlines()[-lines:]]
        return "\n".join(tails)

    # --- inside -------------------------------------------------------------------------------

    def _leader(self) -> int | None:
        for index in self._processes:
            node = self.node(index)
            if node is not None and node.get("role") == "primary" and node["state"] == "running":
                return index
        return None

    def _running(self) -> int | None:
        leader = self._leader()
        if leader is None:
            return None
        streaming = self.query(leader, "select count(*) from pg_stat_replication")
        replicas = [self.node(index) for index in self._processes if index != leader]
        timeline = (self.node(leader) or {}).get("timeline")
        followed = [
            node is not None and node["state"] == "running" and node.get("timeline") == timeline
            for node in replicas
        ]
        return leader if all(followed) and int(streaming) == len(replicas) else None

    def _file(self, index: int) -> Path:
        return self._directory / f"pg-{index}.yml"

    def _log(self, index: int) -> Path:
        return self._directory / f"pg-{index}.log"

    def _environment(self) -> dict[str, str]:
        # patronictl looks for settings of the user in HOME.
        return {"PATH": os.environ["PATH"], "HOME": str(self._directory), "LC_ALL": "C.UTF-8"}

    def _settings(self, index: int, home: Path, etcd3: Mapping[str, Any]) -> dict[str, Any]:
        rest, address = f"{HOST}:{self._rest[index]}", f"{HOST}:{self._ports[index]}"
        login = {"username": OWNER, "password": PASSWORD}
        small = {"shared_buffers": "16MB", "max_connections": 30, "fsync": "off"}
        timing = {"ttl": TTL, "loop_wait": LOOP_WAIT, "retry_timeout": RETRY_TIMEOUT}
        return {
            "scope": SCOPE,
            "name": self.name(index),
            "restapi": {"listen": rest, "connect_address": rest},
            "etcd3": dict(etcd3),
            "bootstrap": {
                "dcs": {**timing, "postgresql": {"use_pg_rewind": True, "parameters": small}},
                "initdb": [{"encoding": "UTF8"}, "data-checksums", "no-sync"],
            },
            "postgresql": {
                "listen": address,
                "connect_address": address,
                "data_dir": str(home / "data"),
                "bin_dir": str(binaries()),
                "pgpass": str(home / "pgpass"),
                "basebackup": [{"checkpoint": "fast"}],
                "authentication": {
                    "superuser": login,
                    "replication": {"username": "replicator", "password": PASSWORD},
                },
                "parameters": {"unix_socket_directories": str(home)},
                "pg_hba": [f"host {of} all {HOST}/32 md5" for of in ("all", "replication")],
            },
        }


def patroni() -> Path:
    """The place where Patroni is installed."""
    manifest = Path(__file__).parent / "patroni" / "requirements.txt"
    return installed(manifest, BUILT.parent / "users" / "patroni", PYTHON)


def binaries() -> Path:
    """The directory of PostgreSQL's commands, of the newest version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        raise FileNotFoundError("PostgreSQL is missing: apt-get install postgresql")
    return found[-1].parent
