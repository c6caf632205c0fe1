"""The launcher: members respond, end on request, and never outlive their launcher."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster import ports, wire
from cluster.command import client_ports
from cluster.local import ClusterError, LocalCluster
from tests.support.waiting import wait


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# --- members ----------------------------------------------------------------------------------


def test_every_member_answers_when_start_returns(etcd_cluster: LocalCluster) -> None:
    assert len(etcd_cluster.endpoints) == 3
    for endpoint in etcd_cluster.endpoints:
        wire.check_health(endpoint, timeout=5)
    statuses = [wire.status(endpoint, timeout=5) for endpoint in etcd_cluster.endpoints]
    assert len({status.member_id for status in statuses}) == 3
    assert {status.leader_id for status in statuses} == {statuses[etcd_cluster.leader()].member_id}
    assert all(status.term >= 2 and status.db_size > 0 for status in statuses)


def test_another_leader_is_found_after_the_leader_was_killed(etcd_cluster: LocalCluster) -> None:
    first = etcd_cluster.leader()
    pid = etcd_cluster.members[first].pid
    etcd_cluster.kill(first)
    assert gone(pid)
    assert etcd_cluster.wait_leader() != first
    etcd_cluster.restart(first)
    etcd_cluster.wait_healthy()
    wire.check_health(etcd_cluster.endpoints[first], timeout=5)


def test_another_leader_is_found_while_the_leader_is_paused(etcd_cluster: LocalCluster) -> None:
    first = etcd_cluster.leader()
    pid = etcd_cluster.members[first].pid
    etcd_cluster.pause(first)
    assert psutil.Process(pid).status() == psutil.STATUS_STOPPED
    assert etcd_cluster.wait_leader() != first
    etcd_cluster.resume(first)
    etcd_cluster.wait_healthy()
    assert etcd_cluster.members[first].pid == pid


def test_stop_asks_with_sigterm_and_tells_how_the_member_ended(etcd_cluster: LocalCluster) -> None:
    # etcd stops in order and then dies of the signal.
    assert etcd_cluster.stop(1) == -signal.SIGTERM
    assert "received signal; shutting down" in etcd_cluster.members[1].log.read_text()


def test_a_paused_member_can_be_stopped(etcd_cluster: LocalCluster) -> None:
    etcd_cluster.pause(0)
    assert etcd_cluster.stop(0) == -signal.SIGTERM


def test_no_leader_is_an_error_that_shows_the_logs(etcd_cluster: LocalCluster) -> None:
    etcd_cluster.kill(0)
    etcd_cluster.kill(1)
    with pytest.raises(ClusterError, match="no leader after 3 s") as failure:
        etcd_cluster.leader(timeout=3)
    assert '"level":"info"' in str(failure.value)


def test_a_member_that_ends_by_itself_is_an_error_at_once(etcd_cluster: LocalCluster) -> None:
    os.kill(etcd_cluster.members[2].pid, signal.SIGSEGV)
    wait(lambda: not etcd_cluster.members[2].running or None, "it runs", 20)
    with pytest.raises(ClusterError, match="rusd-3 ended"):
        etcd_cluster.wait_healthy(timeout=60)


def test_a_wrong_flag_fails_with_what_the_member_said(etcd_binary: list[str]) -> None:
    cluster = LocalCluster(1, binary=etcd_binary, flags=["--no-such-flag"])
    with pytest.raises(ClusterError, match="flag provided but not defined: -no-such-flag"):
        cluster.start()
    assert gone(cluster.members[0].pid)


def test_flags_and_environment_reach_the_members(
    etcd_binary: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETCD_NAME", "from the outside")
    with LocalCluster(
        1,
        binary=etcd_binary,
        flags=["--snapshot-count=77"],
        member_flags={0: ["--quota-backend-bytes=12345678"]},
        env={"ETCD_MAX_TXN_OPS": "99"},
    ) as cluster:
        process = psutil.Process(cluster.members[0].pid)
        assert process.cmdline()[-2:] == ["--snapshot-count=77", "--quota-backend-bytes=12345678"]
        assert process.environ()["ETCD_MAX_TXN_OPS"] == "99"
        assert "ETCD_NAME" not in process.environ()


def test_the_installed_rusd_runs_by_default() -> None:
    with LocalCluster(1) as cluster:
        wire.check_health(cluster.endpoints[0], timeout=5)
        assert wire.status(cluster.endpoints[0]).leader_id != 0
        command = psutil.Process(cluster.members[0].pid).cmdline()
        assert any(Path(word).name == "rusd" for word in command[:2])
        assert cluster.stop(0) == 0


# --- what stays and what goes -----------------------------------------------------------------


def test_a_temporary_cluster_leaves_nothing_behind(etcd_binary: list[str]) -> None:
    with LocalCluster(1, binary=etcd_binary) as cluster:
        directory = cluster.members[0].data_dir.parent
        pid = cluster.members[0].pid
        assert cluster.members[0].data_dir.is_dir()
    assert gone(pid)
    assert not directory.exists()


def test_a_kept_directory_is_continued_by_the_next_cluster(
    etcd_binary: list[str], tmp_path: Path
) -> None:
    with LocalCluster(1, binary=etcd_binary, directory=tmp_path) as cluster:
        endpoints = cluster.endpoints
        member_id = wire.status(endpoints[0]).member_id
        index = wire.status(endpoints[0]).raft_index
    with LocalCluster(1, binary=etcd_binary, directory=tmp_path) as cluster:
        assert cluster.endpoints == endpoints
        assert wire.status(endpoints[0]).member_id == member_id
        assert wire.status(endpoints[0]).raft_index > index


LAUNCHER = """
import sys
from cluster.local import LocalCluster
cluster = LocalCluster(1, binary=sys.argv[1:])
cluster.start()
print(cluster.members[0].pid, cluster.members[0].data_dir.parent, flush=True)
sys.stdin.read()
"""


def test_members_and_files_go_when_the_launcher_is_killed(etcd_binary: list[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, *etcd_binary],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as launcher:
        assert launcher.stdout is not None
        pid, directory = launcher.stdout.readline().split()
        assert not gone(int(pid)) and Path(directory).is_dir()
        launcher.kill()
        wait(lambda: gone(int(pid)) or None, "the member stays", 20)
        wait(lambda: not Path(directory).exists() or None, "the files stay", 20)


def test_a_failing_block_still_ends_the_members(etcd_binary: list[str]) -> None:
    pids = []
    with (
        contextlib.suppress(ZeroDivisionError),
        LocalCluster(1, binary=etcd_binary) as cluster,
    ):
        pids.append(cluster.members[0].pid)
        raise ZeroDivisionError
    assert len(pids) == 1 and gone(pids[0])


# --- ports ------------------------------------------------------------------------------------


def test_a_claimed_port_is_not_given_twice_and_can_be_listened_on() -> None:
    one, other = ports.Claim(), ports.Claim()
    try:
        (port,) = one.any(1)
        with pytest.raises(ports.PortTaken):
            other.these([port])
        with socket.create_server((ports.HOST, port)):
            pass
        one.release()
        assert other.these([port]) == [port]
    finally:
        one.release()
        other.release()


def test_ports_lie_outside_the_range_of_outgoing_connections() -> None:
    claim = ports.Claim()
    try:
        found = claim.any(30)
    finally:
        claim.release()
    assert len(set(found)) == 30
    assert max(found) < ports.ephemeral_start()


def test_start_takes_other_ports_when_a_member_loses_one(
    etcd_binary: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Someone else listens on a claimed port before the member does."""
    thief: list[socket.socket] = []
    build = LocalCluster._build

    def build_and_steal(cluster: LocalCluster) -> None:
        build(cluster)
        if not thief:
            port = int(cluster.endpoints[0].rpartition(":")[2])
            thief.append(socket.create_server((ports.HOST, port)))

    monkeypatch.setattr(LocalCluster, "_build", build_and_steal)
    with LocalCluster(1, binary=etcd_binary) as cluster:
        stolen = thief[0].getsockname()[1]
        assert cluster.endpoints != [f"{ports.HOST}:{stolen}"]
        wire.check_health(cluster.endpoints[0], timeout=5)
    thief[0].close()


def test_client_ports_follow_etcds_own_local_examples() -> None:
    assert client_ports(2379, 3) == [2379, 22379, 32379]
    with pytest.raises(ValueError, match="do not fit"):
        client_ports(20000, 5)


# --- the command ------------------------------------------------------------------------------


@pytest.fixture
def by_hand(etcd_binary: list[str]) -> Iterator[subprocess.Popen[str]]:
    base = 11_379
    claim = ports.Claim()
    claim.these([base])
    claim.release()
    command = [sys.executable, "-m", "cluster.local", "--members=1", f"--base-port={base}"]
    with subprocess.Popen(
        [*command, f"--binary={etcd_binary[0]}"], stdout=subprocess.PIPE, text=True
    ) as running:
        yield running
        running.kill()


def test_the_command_shows_what_to_try_and_stops_the_members_on_ctrl_c(
    by_hand: subprocess.Popen[str],
) -> None:
    assert by_hand.stdout is not None
    shown: list[str] = []
    for line in by_hand.stdout:
        shown.append(line)
        if "Ctrl-C" in line:
            break
    assert "http://127.0.0.1:11379" in "".join(shown)
    assert "etcdctl --endpoints=127.0.0.1:11379 endpoint status -w table" in "".join(shown)
    wire.check_health("127.0.0.1:11379", timeout=5)
    by_hand.send_signal(signal.SIGINT)
    assert by_hand.wait(20) == 0
    with pytest.raises(wire.NoAnswer):
        wire.status("127.0.0.1:11379")
