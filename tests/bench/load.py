"""Unary loads by h2load, which speaks HTTP/2 and repeats one request body.

A gRPC unary call is a POST whose body is the message behind a 5-byte prefix (1 byte compression
flag, 4 bytes length). A refused call is HTTP status 200 as well, only without a body: so the bytes
of the answers are compared with what one good answer has.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.support.pair import etcdctl

#: Part of what was counted that must be found in the answers and in the store.
ENOUGH = 0.95


@dataclass(frozen=True)
class Shape:
    """Number of connections, and of concurrent calls on each."""

    connections: int
    streams: int

    def __str__(self) -> str:
        return f"{self.connections} x {self.streams}"


@dataclass(frozen=True)
class Measured:
    """Results of one run of h2load."""

    #: Calls per second.
    rate: float
    #: Mean time of a call, milliseconds (h2load's "time for request").
    latency_ms: float
    #: Calls with HTTP status 200 after the warm-up.
    calls: int
    #: Bytes of answers, without headers; those of the warm-up are among them.
    answer_bytes: int


class LoadFailed(RuntimeError):
    """Calls were refused, cut short or not made at all."""


def h2load() -> str:
    found = shutil.which("h2load")
    if found is None:
        raise SystemExit("h2load is needed: apt-get install nghttp2-client")
    return found


def framed(message: bytes) -> bytes:
    """A gRPC message as it stands in a request body."""
    return struct.pack(">BI", 0, len(message)) + message


def command(url: str, paths: Sequence[str], data: Path, *options: str) -> list[str]:
    """h2load with several paths goes through them in turn, each time with the same body."""
    return [
        h2load(),
        *options,
        "--header=content-type: application/grpc",
        "--header=te: trailers",
        f"--data={data}",
        *(url + path for path in paths),
    ]


def measure(
    url: str,
    paths: Sequence[str],
    message: bytes,
    shape: Shape,
    seconds: float,
    warm_up: float,
    scratch: Path,
    metadata: Mapping[str, str] = MappingProxyType({}),
) -> Measured:
    """Send `message` to `paths` for `seconds`; raises LoadFailed if h2load saw a failure."""
    data = scratch / "request.bin"
    data.write_bytes(framed(message))
    done = subprocess.run(
        command(
            url,
            paths,
            data,
            f"--duration={seconds * 1000:.0f}ms",
            f"--warm-up-time={warm_up * 1000:.0f}ms",
            f"--clients={shape.connections}",
            f"--max-concurrent-streams={shape.streams}",
            *(f"--header={name}: {value}" for name, value in metadata.items()),
        ),
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    return parsed(done.stdout)


def measure_json(
    url: str, body: str, shape: Shape, seconds: float, warm_up: float, scratch: Path
) -> Measured:
    """Send `body` to `url` over HTTP/1.1 for `seconds`; raises LoadFailed as `measure` does."""
    data = scratch / "request.json"
    data.write_text(body)
    done = subprocess.run(
        [
            h2load(),
            "--h1",
            "--header=content-type: application/json",
            f"--data={data}",
            f"--duration={seconds * 1000:.0f}ms",
            f"--warm-up-time={warm_up * 1000:.0f}ms",
            f"--clients={shape.connections}",
            url,
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 60,
    )
    return parsed(done.stdout)


def parsed(output: str) -> Measured:
    rate = re.search(r"finished in [^,]+, ([\d.]+) req/s", output)
    statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    times = re.search(r"time for request:\s+\S+\s+\S+\s+(\S+)", output)
    data = re.search(r"\((\d+)\) data", output)
    if rate is None or statuses is None or times is None or data is None:
        raise LoadFailed(f"h2load said:\n{output}")
    good, *others = (int(count) for count in statuses.groups())
    if good == 0 or any(others):
        raise LoadFailed(f"calls failed:\n{output}")
    return Measured(float(rate.group(1)), milliseconds(times.group(1)), good, int(data.group(1)))


def milliseconds(text: str) -> float:
    """h2load's "1.23ms", "456us", "2.1s" as milliseconds."""
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


class Program:
    """A client in a process of its own, so that its answer costs the caller nothing."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            command,
            env=os.environ | {"ETCDCTL_API": "3"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def running(self) -> bool:
        return self._process.poll() is None

    @abstractmethod
    def answer_bytes(self) -> int:
        """Waits for the end; bytes of the answer, 0 if the call was refused."""

    def close(self) -> None:
        """End what is still under way."""
        if self.running():
            self._process.kill()
            self._process.communicate()


class LongCall(Program):
    """One call by h2load, which throws the answer away."""

    def __init__(self, url: str, path: str, message: bytes, scratch: Path) -> None:
        data = scratch / "long.bin"
        data.write_bytes(framed(message))
        super().__init__(*command(url, [path], data, "--requests=1", "--clients=1"))

    def answer_bytes(self) -> int:
        output, _ = self._process.communicate()
        data = re.search(r"\((\d+)\) data", output)
        if data is None:
            raise LoadFailed(f"h2load said:\n{output}")
        return int(data.group(1))


class Save(Program):
    """A snapshot save by etcdctl, which also writes the file to the disk."""

    def __init__(self, endpoint: str, scratch: Path) -> None:
        self._file = scratch / "save.db"
        self._file.unlink(missing_ok=True)
        super().__init__(etcdctl(), f"--endpoints={endpoint}", "snapshot", "save", str(self._file))

    def answer_bytes(self) -> int:
        output, _ = self._process.communicate()
        if self._process.returncode:
            raise LoadFailed(f"etcdctl said:\n{output}")
        return self._file.stat().st_size

    def close(self) -> None:
        """End it, and remove its file."""
        super().close()
        self._file.unlink(missing_ok=True)
        self._file.with_name("save.db.part").unlink(missing_ok=True)
