"""The compose file on a real engine: three containers, etcdctl from the host, a killed member.

`make test-docker` prepares the engine, the base image and the wheels; these tests build the image.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.pair import command

ROOT = Path(__file__).parents[2]
COMPOSE = ["sh", "tests/docker/compose.sh", "-p", "rusd-test"]
MEMBERS = ["rusd-1", "rusd-2", "rusd-3"]
PORTS = [2379, 22379, 32379]


def run(*arguments: str, timeout: float = 60) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(
        arguments, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def etcdctl(port: int, *arguments: str) -> str:
    return run(command("etcdctl"), f"--endpoints=127.0.0.1:{port}", *arguments)


def eventually(condition: Callable[[], bool], timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.25)


def healthy(port: int) -> bool:
    done = subprocess.run(
        [command("etcdctl"), f"--endpoints=127.0.0.1:{port}", "endpoint", "health"],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def container(name: str, field: str) -> str:
    return run("docker", "inspect", "--format", "{{" + field + "}}", name).strip()


@pytest.fixture(scope="module")
def compose() -> Iterator[None]:
    run(*COMPOSE, "build", timeout=900)
    try:
        run(*COMPOSE, "up", "--detach", timeout=300)
        for port in PORTS:
            eventually(lambda port=port: healthy(port))
        yield
    except BaseException:
        for name in MEMBERS:
            logs = subprocess.run(["docker", "logs", "--tail=30", name], capture_output=True)
            print(name, logs.stdout.decode(), logs.stderr.decode(), sep="\n")
        raise
    finally:
        run(*COMPOSE, "down", "--volumes", timeout=120)


pytestmark = pytest.mark.timeout(1200)


def test_a_write_through_one_published_port_is_read_through_the_others(compose: None) -> None:
    for port in PORTS:
        assert etcdctl(port, "put", f"via/{port}", str(port)) == "OK\n"
    for port in PORTS:
        found = etcdctl(port, "get", "via/", "--prefix", "--print-value-only").split()
        assert found == ["22379", "2379", "32379"]


def test_every_container_becomes_healthy_and_runs_as_an_ordinary_user(compose: None) -> None:
    for name in MEMBERS:
        eventually(lambda name=name: container(name, ".State.Health.Status") == "healthy")
        assert run("docker", "exec", name, "id", "-u").strip() == "10001"


def test_a_killed_container_is_survived_and_catches_up(compose: None) -> None:
    statuses = json.loads(etcdctl(PORTS[0], "endpoint", "status", "-w", "json"))
    assert statuses[0]["Status"]["leader"] != 0
    run("docker", "kill", "--signal=KILL", MEMBERS[0])
    eventually(lambda: healthy(PORTS[1]))
    etcdctl(PORTS[1], "put", "while/away", "1")
    run("docker", "start", MEMBERS[0])
    eventually(lambda: healthy(PORTS[0]))
    assert etcdctl(PORTS[0], "get", "while/away", "--print-value-only") == "1\n"


def test_docker_stop_ends_a_member_in_order_and_its_volume_keeps_the_data(compose: None) -> None:
    etcdctl(PORTS[2], "put", "kept", "1")
    run("docker", "stop", "--time=15", MEMBERS[2])
    assert container(MEMBERS[2], ".State.ExitCode") == "0"
    run("docker", "rm", MEMBERS[2])
    run(*COMPOSE, "up", "--detach", timeout=120)
    eventually(lambda: healthy(PORTS[2]))
    assert etcdctl(PORTS[2], "get", "kept", "--print-value-only") == "1\n"
