"""One measured load: h2load sending one gRPC unary call over and over.

h2load speaks HTTP/2 and repeats one request body; a gRPC unary call is a POST whose body is the
message behind a 5-byte prefix (1 byte compression flag, 4 bytes length).
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import Message


@dataclass(frozen=True)
class Shape:
    """How many connections, and how many calls at once on each."""

    connections: int
    streams: int

    def __str__(self) -> str:
        return f"{self.connections} x {self.streams}"


@dataclass(frozen=True)
class Measured:
    """What one run of h2load gave."""

    #: Calls per second.
    rate: float
    #: Mean time of a call, milliseconds (h2load's "time for request").
    latency_ms: float


def h2load() -> str:
    found = shutil.which("h2load")
    if found is None:
        raise SystemExit("h2load is needed: apt-get install nghttp2-client")
    return found


def measure(
    url: str, path: str, request: Message, shape: Shape, seconds: int, scratch: Path
) -> Measured:
    """Send `request` to `path` for `seconds`; a call that fails ends the benchmark."""
    body = request.SerializeToString()
    data = scratch / "request.bin"
    data.write_bytes(struct.pack(">BI", 0, len(body)) + body)
    done = subprocess.run(
        [
            h2load(),
            f"--duration={seconds}",
            "--warm-up-time=1",
            f"--clients={shape.connections}",
            f"--max-concurrent-streams={shape.streams}",
            "--header=content-type: application/grpc",
            "--header=te: trailers",
            f"--data={data}",
            url + path,
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
    if rate is None or statuses is None or times is None:
        raise RuntimeError(f"h2load said:\n{output}")
    good, *others = (int(count) for count in statuses.groups())
    if good == 0 or any(others):
        raise RuntimeError(f"calls failed:\n{output}")
    return Measured(float(rate.group(1)), milliseconds(times.group(1)))


def milliseconds(text: str) -> float:
    """h2load's "1.23ms", "456us", "2.1s" as milliseconds."""
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]
