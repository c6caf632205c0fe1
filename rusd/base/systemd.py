"""Two protocols of systemd: readiness of a service, and entries of the journal.

Readiness is one datagram to the socket that NOTIFY_SOCKET names (sd_notify(3)). The journal takes
one datagram for each entry at journald's socket: `KEY=value` lines; a value with a line break is
its key, a line break, its length as 64 bits little-endian, and its bytes. An entry that is too
large for a datagram is sent as a sealed memory file (systemd's "Native Journal Protocol").
"""

import contextlib
import errno
import fcntl
import logging
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

JOURNAL_SOCKET = "/run/systemd/journal/socket"

#: Levels of logging -> priorities of syslog; the first level that is reached counts.
_PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.DEBUG, 7),
)
_TOO_LARGE = frozenset((errno.EMSGSIZE, errno.ENOBUFS))


def notify(state: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send `state` to the service manager. False if there is none. Raises OSError."""
    name = environ.get("NOTIFY_SOCKET", "")
    if not name:
        return False
    # A leading @ stands for the null byte of an abstract socket.
    address = "\0" + name[1:] if name.startswith("@") else name
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(address)
        sender.send(state.encode())
    return True


class JournalHandler(logging.Handler):
    """Writes records to the journal with etcd's fields; to standard error if that fails."""

    def __init__(self, path: str | None = None) -> None:
        """Connect to the journal at `path` or its usual place. Raises OSError if there is none."""
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.connect(path or JOURNAL_SOCKET)
        except OSError:
            self._socket.close()
            raise

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = self.format(record)
            entry = _entry(
                {
                    "MESSAGE": message,
                    "PRIORITY": str(_priority(record.levelno)),
                    "PACKAGE": Path(record.pathname).parent.name,
                    "SYSLOG_IDENTIFIER": Path(sys.argv[0]).name,
                }
            )
            try:
                self._send(entry)
            except OSError:
                print(message, file=sys.stderr, flush=True)
        except Exception:  # noqa: BLE001
            # As the handlers of logging do: a log line never ends its caller.
            self.handleError(record)

    def close(self) -> None:
        self._socket.close()
        super().close()

    def _send(self, entry: bytes) -> None:
        try:
            self._socket.send(entry)
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            self._send_file(entry)

    def _send_file(self, entry: bytes) -> None:
        file = os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with contextlib.closing(os.fdopen(os.dup(file), "wb")) as writer:
                writer.write(entry)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
            socket.send_fds(self._socket, [b""], [file])
        finally:
            os.close(file)


def _priority(level: int) -> int:
    return next((priority for least, priority in _PRIORITIES if level >= least), 7)


def _entry(fields: Mapping[str, str]) -> bytes:
    parts = []
    for key, value in fields.items():
        data = value.encode("utf-8", "backslashreplace")
        if b"\n" in data:
            parts.append(key.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n")
        else:
            parts.append(key.encode() + b"=" + data + b"\n")
    return b"".join(parts)
