"""A member whose every proposal is refused at once, as under a deep backlog of unapplied entries.

Its background work keeps asking. Each refusal comes without a wait, so a loop around it that never
yields would keep the process from everything else: answers, logs with an end, signals.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cluster.ports import Claim

#: The command, with the number of unapplied entries at which proposals are refused below zero.
REFUSING = """
import rusd.raft.core.core
rusd.raft.core.core.MAX_APPLY_LAG = -1
from rusd.cli import console
console()
"""


@pytest.fixture
def refusing(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    """Yields (process, metrics URL, log)."""
    ports = Claim()
    client, peer, metrics = ports.any(3)
    url, probed = (f"http://127.0.0.1:{port}" for port in (client, metrics))
    log = tmp_path / "log"
    command = [sys.executable, "-c", REFUSING]
    command += [f"--data-dir={tmp_path / 'data'}", f"--listen-client-urls={url}"]
    command += [f"--listen-metrics-urls={probed}"]
    command += [f"--advertise-client-urls={url}", f"--listen-peer-urls=http://127.0.0.1:{peer}"]
    command += [f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}"]
    command += [f"--initial-cluster=default=http://127.0.0.1:{peer}"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process, probed, log
    finally:
        process.kill()
        process.wait()
        ports.release()


def answered(url: str) -> dict[str, str] | None:
    """Return the body of /health, also with 503; None while nothing listens."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        return dict(json.load(error))
    except OSError:
        return None


def test_a_member_whose_proposals_are_refused_answers_and_stops(
    refusing: tuple[subprocess.Popen[bytes], str, Path],
) -> None:
    process, url, log = refusing
    deadline = time.monotonic() + 30
    while b"cannot publish yet" not in log.read_bytes():
        assert time.monotonic() < deadline and process.poll() is None, log.read_text()
        time.sleep(0.02)
    began = time.monotonic()
    with ThreadPoolExecutor(20) as clients:  # each probe waits for its linearizable read
        assert all(clients.map(answered, [url] * 20)), log.read_text()[-2000:]
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, log.read_text()[-2000:]
    # The pause between two tries doubles up to a second.
    refusals = log.read_bytes().count(b"cannot publish yet")
    assert refusals <= 4 + (time.monotonic() - began), refusals
