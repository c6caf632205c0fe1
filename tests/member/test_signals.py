"""SIGTERM and SIGINT, sent twice, at many moments of a real process's start and stop."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ports import free_urls

#: Runs the command and sends itself the signal at two of its audit events (imports, files opened,
#: sockets bound, …), counted from where it handles signals. SIGUSR1 prints the count.
SCRIPT = """
import os, signal, sys
number, first, second, *sys.argv[1:] = map(str, sys.argv[1:])
points, count, inside = {int(first), int(second)}, 0, False
def hook(event, arguments):
    global count, inside
    if inside or not callable(signal.getsignal(signal.SIGTERM)):
        return
    inside = True
    count += 1
    if count in points:
        os.kill(os.getpid(), int(number))
    inside = False
signal.signal(signal.SIGUSR1, lambda number, frame: print(count, flush=True))
sys.addaudithook(hook)
from rusd.cli import console
console()
"""
MOMENTS = 10


def command(number: int, first: int, second: int, root: Path) -> list[str]:
    urls = free_urls(2)
    return [
        *(sys.executable, "-c", SCRIPT, str(number), str(first), str(second)),
        *("--data-dir", str(root), "--initial-cluster", f"default={urls[0]}"),
        *("--listen-peer-urls", urls[0], "--initial-advertise-peer-urls", urls[0]),
        *("--listen-client-urls", urls[1], "--advertise-client-urls", urls[1]),
    ]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Number of audit events of a start."""
    flags = command(0, -1, -1, tmp_path_factory.mktemp("counted"))
    pipe = subprocess.PIPE
    with subprocess.Popen(flags, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            assert any("ready to serve client requests" in line for line in process.stderr)
            process.send_signal(signal.SIGUSR1)
            count = int(process.stdout.readline())
        finally:
            process.terminate()
            process.communicate(timeout=60)
        assert process.returncode == 0
    return count


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_a_signal_at_any_moment_of_a_start_ends_it_with_0_and_without_a_trace(
    events: int, number: signal.Signals, moment: int, tmp_path: Path
) -> None:
    first = 1 + events * moment // MOMENTS
    # The second one comes at once, or somewhere in the stop.
    second = first + 1 + 3 * moment
    done = subprocess.run(
        command(number, first, second, tmp_path / "data"),
        env={name: value for name, value in os.environ.items() if not name.startswith("ETCD")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    for word in ("Traceback", "KeyboardInterrupt", '"fatal"', '"error"'):
        assert word not in done.stderr, done.stderr
