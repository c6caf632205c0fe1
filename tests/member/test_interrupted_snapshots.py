"""A snapshot that is being saved or restored, and what comes in between."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest

from cluster.certificates import Authority
from cluster.chaos.network import CUT
from cluster.chaos.subject import Subject
from cluster.local import LocalCluster, rusd_command
from cluster.process import Member
from rusd.proto import rpc_pb2 as rpc
from tests.cluster.test_catch_up import installed
from tests.support.client import Client, Refused, refusal
from tests.support.disk import SmallDisk
from tests.support.load import wait_applied
from tests.support.pair import ORACLE, command
from tests.support.ports import free_port
from tests.support.snapshots import buckets, run, rusdutl, save, stream
from tests.support.waiting import wait
from tests.unit.backup.test_restore import sound
from tests.unit.bbolt.files import make

#: More than client and server together buffer of a stream.
LARGE = 24
MIB = 1 << 20
AUTH = "/etcdserverpb.Auth/"

#: `rusdutl`, killed when everything but the log of the member is made.
KILLED = """
import os, signal
from rusd.raft.log.journal import Journal
Journal.settle = lambda self: os.kill(os.getpid(), signal.SIGKILL)
from rusd.utl.command import console
console()
"""


def fill(client: Client) -> None:
    for number in range(LARGE):
        client.put(b"large/%d" % number, os.urandom(MIB))


@pytest.fixture(scope="module")
def large() -> Iterator[LocalCluster]:
    with LocalCluster(1) as cluster:
        with Client(cluster.endpoints[0]) as client:
            fill(client)
        yield cluster


def suspended(process: psutil.Process) -> bool | None:
    """Whether the process is stopped, or has ended before; None: neither yet."""
    try:
        process.suspend()
        status = process.status()
    except psutil.NoSuchProcess:
        return False
    if status in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
        return status == psutil.STATUS_STOPPED
    return None


def writes(process: psutil.Process) -> bool:
    """Whether it is the program that writes a file: before it is, its parent waits for it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return "rusd.backup.__main__" in process.cmdline()
    return False


@contextlib.contextmanager
def held(member: Member, client: Client) -> Iterator[list[bytes]]:
    """A snapshot whose file is not written as long as the block runs; complete afterwards."""
    chunks: list[bytes] = []
    failed: list[grpc.RpcError] = []

    def read() -> None:
        try:
            chunks.extend(message.blob for message in stream(client, timeout=150.0))
        except grpc.RpcError as error:
            failed.append(error)

    process = psutil.Process(member.pid)
    exports = member.data_dir / "member" / "exports"

    def caught() -> psutil.Process | None:
        """The process, stopped before it has written anything; None if it was faster."""
        found = None
        while reader.is_alive() and not (found := next(filter(writes, process.children()), None)):
            pass
        if not found or not wait(lambda: suspended(found), "it does not stop", 60.0):
            return None
        wait(lambda: any(exports.glob("*/state/CURRENT")) or None, "no checkpoint", 60.0)
        if not any(file.stat().st_size for file in exports.glob("*/db")):
            return found
        found.resume()
        return None

    while True:
        wait(lambda: not process.children() or None, "an earlier one does not end", 60.0)
        # (A file is made as a whole if none was kept.)
        (exports / "kept").unlink(missing_ok=True)
        reader = threading.Thread(target=read)
        reader.start()
        if writer := caught():
            break
        reader.join()
        chunks.clear()
    try:
        yield chunks
    finally:
        writer.resume()
        reader.join(150)
    assert not failed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_restore_that_a_signal_ends_leaves_no_keys_behind(
    number: signal.Signals, tmp_path: Path
) -> None:
    file, data = tmp_path / "file.db", tmp_path / "data"
    file.write_bytes(make(sound()))
    restore = ["snapshot", "restore", str(file), "--data-dir", str(data), "--skip-hash-check"]
    program = KILLED.replace("SIGKILL", number.name)
    ended = subprocess.run(
        [sys.executable, "-c", program, *restore],
        capture_output=True,
        # (Under nohup the tests ignore SIGHUP, in the background of a shell SIGINT, and what they
        # start would too.)
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    assert ended.returncode in (-number, 128 + number)
    assert not list(data.iterdir())


def test_a_killed_restore_is_not_served_and_not_overwritten(tmp_path: Path) -> None:
    file, data = tmp_path / "file.db", tmp_path / "data"
    file.write_bytes(make(sound()))
    restore = ["snapshot", "restore", str(file), "--data-dir", str(data), "--skip-hash-check"]
    killed = subprocess.run([sys.executable, "-c", KILLED, *restore], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert (data / "member" / "state").exists()
    urls = [f"--listen-{kind}-urls=http://127.0.0.1:{free_port()}" for kind in ("client", "peer")]
    advertised = f"--advertise-client-urls={urls[0].partition('=')[2]}"
    started = subprocess.run(
        [*rusd_command(), f"--data-dir={data}", *urls, advertised],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert started.returncode == 1
    assert "is half of a snapshot: 'rusdutl snapshot restore'" in started.stderr
    again = rusdutl(*restore)
    assert again.returncode == 1
    assert again.stderr == f'Error: data-dir "{data}" not empty or could not be read\n'


@pytest.mark.parametrize("megabytes", [1, 8, 40])
def test_a_restore_on_a_full_disk_says_so_and_leaves_nothing(
    large: LocalCluster, megabytes: int, tmp_path: Path
) -> None:
    file = tmp_path / "file.db"
    with Client(large.endpoints[0]) as client:
        file.write_bytes(save(client))
    with SmallDisk(tmp_path / "disk", megabytes) as disk:
        data = disk.path / "data"
        done = rusdutl("snapshot", "restore", file, "--data-dir", data)
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not data.exists() or not list(data.iterdir())


def test_a_save_on_a_full_disk_fails_and_the_member_goes_on(tmp_path: Path) -> None:
    with (
        SmallDisk(tmp_path / "disk", 400) as disk,
        LocalCluster(1, directory=disk.path / "cluster") as cluster,
        Client(cluster.endpoints[0]) as client,
    ):
        exports = cluster.members[0].data_dir / "member" / "exports"
        fill(client)
        # (The first one moves what the database has in its log.)
        save(client)
        # Room for a part of the file above the 128 MiB that the member keeps for itself.
        disk.fill(leaving=(128 + LARGE // 2) * MIB)
        wait(lambda: not list(exports.iterdir()) or None, "the file is kept", 60.0)
        disk.fill(leaving=(128 + LARGE // 2) * MIB)
        with pytest.raises(grpc.RpcError) as error:
            list(stream(client))
        assert "No space left on device" in refusal(error.value).message
        wait(lambda: not list(exports.iterdir()) or None, "files stay", 60.0)
        client.put(b"after", b"1")
        disk.empty()
        assert buckets(save(client))[b"key"]


@pytest.mark.parametrize("server", ["rusd", "etcd"])
def test_a_token_that_ends_during_a_save_does_not_end_it(server: str) -> None:
    """The caller is identified once, as it begins."""
    binary = None if server == "rusd" else [command(ORACLE)]
    with LocalCluster(1, binary=binary, user=("root", "one")) as cluster:
        endpoint = cluster.endpoints[0]
        with Client(endpoint) as client:
            fill(client)
            root = rpc.AuthUserAddRequest(name="root", password="one")
            client.call(AUTH + "UserAdd", root, rpc.AuthUserAddResponse)
            client.call(
                AUTH + "RoleAdd", rpc.AuthRoleAddRequest(name="root"), rpc.AuthRoleAddResponse
            )
            grant = rpc.AuthUserGrantRoleRequest(user="root", role="root")
            client.call(AUTH + "UserGrantRole", grant, rpc.AuthUserGrantRoleResponse)
            client.call(AUTH + "AuthEnable", rpc.AuthEnableRequest(), rpc.AuthEnableResponse)
            login = rpc.AuthenticateRequest(name="root", password="one")
            token = client.call(AUTH + "Authenticate", login, rpc.AuthenticateResponse).token
        with Client(endpoint, metadata={"token": token}) as client:
            answers = stream(client)
            chunks = [next(answers).blob]
            change = rpc.AuthUserChangePasswordRequest(name="root", password="two")
            client.call(AUTH + "UserChangePassword", change, rpc.AuthUserChangePasswordResponse)
            with pytest.raises(Refused, match="invalid auth token"):
                client.range(b"x")
            chunks += [message.blob for message in answers]
        assert len(buckets(b"".join(chunks))[b"key"]) == LARGE


def test_compaction_and_defragmentation_do_not_change_a_file_in_the_making(
    large: LocalCluster,
) -> None:
    with Client(large.endpoints[0]) as client:
        for number in range(20):
            client.put(b"old", b"%d" % number)
        revision = client.put(b"old", b"newest").header.revision
        before = buckets(save(client))[b"key"]
        with held(large.members[0], client) as chunks:
            compact = rpc.CompactionRequest(revision=revision, physical=True)
            client.call("/etcdserverpb.KV/Compact", compact, rpc.CompactionResponse)
            client.call(
                "/etcdserverpb.Maintenance/Defragment",
                rpc.DefragmentRequest(),
                rpc.DefragmentResponse,
            )
            client.put(b"old", b"after")
        assert buckets(b"".join(chunks))[b"key"] == before
        assert len(buckets(save(client))[b"key"]) == len(before) - 20 + 1


def test_a_state_received_during_a_save_does_not_change_its_file() -> None:
    flags = ["--snapshot-count=10", "--snapshot-catchup-entries=5"]
    with Subject("rusd", 3, network="proxy", with_disks=False, flags=flags) as cluster:
        leader = cluster.leader()
        away = (leader + 1) % 3
        member, others = cluster.members[away], [n for n in range(3) if n != away]
        links = [link for other in others for link in ((away, other), (other, away))]
        with (
            Client(cluster.endpoints[leader]) as writing,
            Client(cluster.endpoints[away]) as reading,
        ):
            wait_applied(reading, writing.put(b"before").header.revision)
            before = buckets(save(reading))[b"key"]
            with held(member, reading) as chunks:
                # (Where the leader has not cut its log yet when the member is back, that catches up
                # from it: then again.)
                for _ in range(3):
                    lost = cluster.members[leader].log_of_this_run().count("peer lost")
                    cluster.network.set(links, CUT)
                    # What the links hold back is gone only with the connection.
                    while cluster.members[leader].log_of_this_run().count("peer lost") == lost:
                        for number in range(20):
                            newest = writing.put(b"%d" % (number % 9)).header.revision
                    cluster.network.heal()
                    wait_applied(reading, newest)
                    if installed(member):
                        break
                else:
                    raise AssertionError(member.log_tail())
            assert buckets(b"".join(chunks))[b"key"] == before
            assert reading.range(b"0", b":", serializable=True).count == 9


def test_a_save_over_tls_needs_a_client_certificate_where_it_is_asked_for(tmp_path: Path) -> None:
    tls = Authority(tmp_path).tls(verify_clients=True)
    with LocalCluster(1, tls=tls) as cluster:
        endpoint = f"https://{cluster.endpoints[0]}"
        etcdctl = [command("etcdctl"), f"--endpoints={endpoint}", f"--cacert={tls.authority}"]
        own = [f"--cert={tls.client_cert}", f"--key={tls.client_key}"]
        file = tmp_path / "file.db"
        run(*etcdctl, *own, "put", "a", "1")
        run(*etcdctl, *own, "snapshot", "save", file)
        assert len(buckets(file.read_bytes())[b"key"]) == 1
        refused = [*etcdctl, "--dial-timeout=2s", "--command-timeout=2s", "snapshot", "save"]
        done = subprocess.run(
            [*refused, str(tmp_path / "none.db")], capture_output=True, timeout=60
        )
        assert done.returncode != 0
        assert not (tmp_path / "none.db").exists()
