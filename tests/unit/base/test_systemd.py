"""systemd's protocols: readiness, journal entries, and a unit written for etcd."""

import contextlib
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rusd.base import logs, systemd
from rusd.base.systemd import JournalHandler, notify
from rusd.config import Config, ConfigError
from rusd.config.check import check
from tests.support.ports import free_urls

ETCD = Path(sys.executable).parent / "etcd"


@contextlib.contextmanager
def receiving(address: str | Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(address))
        receiver.settimeout(60)
        yield receiver


def parsed(entry: bytes) -> dict[str, str]:
    """An entry of the journal's native protocol."""
    fields: dict[str, str] = {}
    while entry:
        line, _, entry = entry.partition(b"\n")
        key, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(entry[:8], "little")
            value, end, entry = entry[8 : 8 + size], entry[8 + size : 9 + size], entry[9 + size :]
            assert end == b"\n"
        fields[key.decode()] = value.decode()
    return fields


# -- readiness -----------------------------------------------------------------------------------


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_readiness_is_one_datagram_to_the_notify_socket(tmp_path: Path, abstract: bool) -> None:
    name = f"@rusd-{secrets.token_hex(8)}" if abstract else str(tmp_path / "notify")
    with receiving(name.replace("@", "\0")) as receiver:
        assert notify("READY=1", {"NOTIFY_SOCKET": name})
        assert receiver.recv(100) == b"READY=1"


def test_without_a_service_manager_nothing_is_sent() -> None:
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": ""})
    with pytest.raises(OSError):
        notify("READY=1", {"NOTIFY_SOCKET": "/nonexistent/socket"})


def unit_environment(root: Path, notify_socket: str) -> dict[str, str]:
    """Return the environment of Debian's etcd unit, with free ports in its environment file."""
    urls = free_urls(2)
    return {
        "PATH": os.environ["PATH"],
        "ETCD_NAME": "host",
        "ETCD_DATA_DIR": str(root),
        "ETCD_LISTEN_PEER_URLS": urls[0],
        "ETCD_INITIAL_ADVERTISE_PEER_URLS": urls[0],
        "ETCD_INITIAL_CLUSTER": f"host={urls[0]}",
        "ETCD_LISTEN_CLIENT_URLS": urls[1],
        "ETCD_ADVERTISE_CLIENT_URLS": urls[1],
        "NOTIFY_SOCKET": notify_socket,
    }


@pytest.mark.parametrize(
    "command", [[str(ETCD)], [sys.executable, "-m", "rusd.cli"]], ids=["etcd", "rusd"]
)
def test_a_unit_of_etcd_needs_only_the_commands_name_changed(
    command: list[str], tmp_path: Path
) -> None:
    """Type=notify: the service manager hears READY=1 once clients are served, nothing before."""
    address = tmp_path / "notify"
    environ = unit_environment(tmp_path / "data", str(address))
    with receiving(address) as receiver:
        process = subprocess.Popen(
            command, env=environ, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        with process:
            try:
                assert receiver.recv(100) == b"READY=1"
                host, port = environ["ETCD_LISTEN_CLIENT_URLS"].removeprefix("http://").split(":")
                socket.create_connection((host, int(port)), timeout=10).close()
            finally:
                process.send_signal(signal.SIGTERM)
                _, log = process.communicate(timeout=60)
        assert "successfully notified init daemon" in log
        receiver.setblocking(False)
        with pytest.raises(BlockingIOError):
            receiver.recv(100)


def test_a_member_serves_when_its_service_manager_cannot_be_notified(
    tmp_path: Path,
) -> None:
    environ = unit_environment(tmp_path / "data", "/nonexistent/notify")
    command = [sys.executable, "-m", "rusd.cli"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            word = "failed to notify systemd for readiness"
            assert any(word in line for line in process.stderr)
            assert process.poll() is None
        finally:
            process.terminate()
            process.stderr.read()
    assert process.returncode == 0


# -- the journal ---------------------------------------------------------------------------------


def record(message: str, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("rusd.raft", level, "/x/raft/turn.py", 7, message, None, None)


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    monkeypatch.setattr(systemd, "JOURNAL_SOCKET", str(tmp_path / "journal"))
    with receiving(tmp_path / "journal") as receiver:
        yield receiver


def test_the_log_goes_to_the_journal_with_etcds_fields(
    journal: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/rusd"])
    logs.configure("info", "json", ["systemd/journal"])
    try:
        logs.get_logger("x").warning("told", extra={"fields": {"a": 1}})
        entry = parsed(journal.recv(1 << 16))
    finally:
        logs.configure("info", "json", ["/dev/null"])
    assert entry["PRIORITY"] == "4"
    assert entry["SYSLOG_IDENTIFIER"] == "rusd"
    assert entry["PACKAGE"] == "base"
    line = json.loads(entry["MESSAGE"])
    assert (line["level"], line["msg"], line["a"]) == ("warn", "told", 1)


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.DEBUG, "7"),
        (logging.INFO, "6"),
        (logging.WARNING, "4"),
        (logging.ERROR, "3"),
        (logging.CRITICAL, "2"),
    ],
)
def test_levels_are_the_journals_priorities(
    journal: socket.socket, level: int, priority: str
) -> None:
    with contextlib.closing(JournalHandler()) as handler:
        handler.emit(record("x", level))
    assert parsed(journal.recv(1 << 16))["PRIORITY"] == priority


@pytest.mark.parametrize("message", ["two\nlines", "a=b", "", "ünï", "x" * (1 << 20)])
def test_every_message_arrives_whole(journal: socket.socket, message: str) -> None:
    with contextlib.closing(JournalHandler()) as handler:
        handler.emit(record(message))
    data, files, _, _ = socket.recv_fds(journal, 1 << 16, 1)
    if files:
        with os.fdopen(files[0], "rb") as file:
            file.seek(0)
            data = file.read()
    assert bool(files) == (len(message) > 1 << 16)
    assert parsed(data)["MESSAGE"] == message


def test_a_journal_that_went_away_leaves_the_log_on_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "journal")
    with receiving(path):
        handler = JournalHandler(path)
    with contextlib.closing(handler):
        handler.emit(record("still said"))
    assert capsys.readouterr().err == "still said\n"


def test_without_a_journal_the_output_is_refused_as_etcd_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "JOURNAL_SOCKET", str(tmp_path / "none"))
    with pytest.raises(OSError, match="can't find journal"):
        logs.configure("info", "json", ["systemd/journal"])


def test_the_journal_is_the_only_output() -> None:
    with pytest.raises(ConfigError, match="running with systemd/journal but other"):
        check(Config(log_outputs=("systemd/journal", "stderr")))
