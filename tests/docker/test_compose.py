"""The compose file on a real engine: three containers, etcdctl from the host, a killed member.

`make test-docker` prepares the engine, the base image and the wheels; these tests build the image.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.pair import command
from tests.support.waiting import wait

ROOT = Path(__file__).parents[2]
COMPOSE = ["sh", "tests/docker/compose.sh", "-p", "rusd-test"]
MEMBERS = ["rusd-1", "rusd-2", "rusd-3"]
PORTS = [2379, 22379, 32379]
ENDPOINTS = ",".join(f"127.0.0.1:{port}" for port in PORTS)


def run(*arguments: str, timeout: float = 60) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(
        arguments, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def etcdctl(port: int, *arguments: str) -> str:
    return run(command("etcdctl"), f"--endpoints=127.0.0.1:{port}", *arguments)


def healthy(port: int) -> bool:
    done = subprocess.run(
        [command("etcdctl"), f"--endpoints=127.0.0.1:{port}", "endpoint", "health"],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def until_healthy(*ports: int) -> None:
    wait(lambda: all(map(healthy, ports)) or None, f"not healthy: {ports}", 60)


def container(name: str, field: str) -> str:
    return run("docker", "inspect", "--format", "{{" + field + "}}", name).strip()


@pytest.fixture(scope="module")
def compose() -> Iterator[None]:
    try:
        run(*COMPOSE, "up", "--build", "--detach", "--wait", timeout=900)
        yield
    except BaseException:
        for name in MEMBERS:
            logs = subprocess.run(["docker", "logs", "--tail=30", name], capture_output=True)
            print(name, logs.stdout.decode(), logs.stderr.decode(), sep="\n")
        raise
    finally:
        run(*COMPOSE, "--profile=fourth", "down", "--volumes", timeout=120)


pytestmark = pytest.mark.timeout(1200)


def test_a_write_through_one_published_port_is_read_through_the_others(compose: None) -> None:
    for port in PORTS:
        assert etcdctl(port, "put", f"via/{port}", str(port)) == "OK\n"
    for port in PORTS:
        found = etcdctl(port, "get", "via/", "--prefix", "--print-value-only").split()
        assert found == ["22379", "2379", "32379"]


def test_every_container_is_healthy_hardened_and_limited(compose: None) -> None:
    for name in MEMBERS:
        assert container(name, ".State.Health.Status") == "healthy"
        assert run("docker", "exec", name, "id", "-u").strip() == "10001"
        asked = json.loads(container(name, "json .HostConfig"))
        assert asked["ReadonlyRootfs"] and asked["CapDrop"] == ["ALL"]
        assert asked["SecurityOpt"] == ["no-new-privileges:true"]
        assert asked["Memory"] == 2**30 and asked["PidsLimit"] == 256
        assert asked["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}


class Writer(threading.Thread):
    """Puts one key after the other through all members, and keeps the acknowledged ones."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        put = [command("etcdctl"), f"--endpoints={ENDPOINTS}", "put"]
        for number in itertools.count():
            if self.ended.is_set():
                return
            done = subprocess.run([*put, f"written/{number:05}", ""], capture_output=True)
            if done.returncode == 0:
                self.acknowledged.append(f"written/{number:05}")


def written() -> set[str]:
    found = run(
        *(command("etcdctl"), f"--endpoints={ENDPOINTS}", "get", "written/", "--prefix"),
        "--keys-only",
    )
    return set(found.split())


def test_any_container_is_killed_while_writes_go_on_and_none_is_lost(compose: None) -> None:
    writer = Writer()
    writer.start()
    try:
        for name, port in zip(MEMBERS, PORTS, strict=True):
            run("docker", "kill", "--signal=KILL", name)
            before = len(writer.acknowledged)
            wait(lambda n=before + 3: len(writer.acknowledged) >= n or None, "no write", 60)
            run("docker", "start", name)
            until_healthy(port)
    finally:
        writer.ended.set()
        writer.join(timeout=30)
    assert {*writer.acknowledged} <= written()


def test_a_member_whose_process_dies_is_started_again(compose: None) -> None:
    name = MEMBERS[1]
    os.kill(int(container(name, ".State.Pid")), signal.SIGKILL)
    wait(lambda: container(name, ".RestartCount") == "1" or None, "not started again", 60)
    until_healthy(PORTS[1])


def test_down_and_up_keep_the_data(compose: None) -> None:
    etcdctl(PORTS[0], "put", "written/before", "1")
    before = written()
    run(*COMPOSE, "down", timeout=120)
    run(*COMPOSE, "up", "--detach", "--wait", timeout=120)
    until_healthy(*PORTS)
    assert "written/before" in before and written() == before


def test_docker_stop_ends_a_member_in_order_and_its_volume_keeps_the_data(compose: None) -> None:
    etcdctl(PORTS[2], "put", "kept", "1")
    run("docker", "stop", "--time=15", MEMBERS[2])
    assert container(MEMBERS[2], ".State.ExitCode") == "0"
    run("docker", "rm", MEMBERS[2])
    run(*COMPOSE, "up", "--detach", timeout=120)
    until_healthy(PORTS[2])
    assert etcdctl(PORTS[2], "get", "kept", "--print-value-only") == "1\n"


def change_members(*arguments: str) -> None:
    """`etcdctl member …`, which is refused until all have been connected for five seconds."""
    change = [command("etcdctl"), "member", *arguments]
    wait(lambda: subprocess.run(change, capture_output=True).returncode == 0 or None, "refused", 60)


def identifier(name: str) -> str:
    members = etcdctl(PORTS[0], "member", "list").splitlines()
    (found,) = (line.split(",")[0] for line in members if name in line)
    return found


def test_a_member_whose_volume_was_lost_is_replaced_as_documented(
    compose: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    etcdctl(PORTS[0], "put", "outlived", "1")
    lost = identifier("rusd-3")
    run(*COMPOSE, "rm", "--stop", "--force", "rusd-3")
    run("docker", "volume", "rm", "rusd-test_rusd-3")
    change_members("remove", lost)
    change_members("add", "rusd-3", "--peer-urls=http://rusd-3:2380")
    with monkeypatch.context() as variables:
        variables.setenv("RUSD_CLUSTER_STATE", "existing")
        run(*COMPOSE, "up", "--detach", "--no-deps", "rusd-3", timeout=120)
    until_healthy(PORTS[2])
    assert etcdctl(PORTS[2], "get", "outlived", "--print-value-only") == "1\n"
    assert identifier("rusd-3") != lost
    run(*COMPOSE, "up", "--detach", "--wait", timeout=120)
    until_healthy(*PORTS)


def test_a_fourth_member_is_added_and_removed_as_documented(compose: None) -> None:
    etcdctl(PORTS[0], "put", "grown", "1")
    change_members("add", "rusd-4", "--peer-urls=http://rusd-4:2380")
    run(*COMPOSE, "--profile=fourth", "up", "--detach", "rusd-4", timeout=120)
    until_healthy(42379)
    assert etcdctl(42379, "get", "grown", "--print-value-only") == "1\n"
    etcdctl(PORTS[0], "member", "remove", identifier("rusd-4"))
    run(*COMPOSE, "--profile=fourth", "rm", "--stop", "--force", "rusd-4", timeout=60)
    until_healthy(*PORTS)


def test_the_profile_of_metrics_scrapes_every_member() -> None:
    scraped = yaml.safe_load((ROOT / "cluster" / "monitoring" / "prometheus.yml").read_text())
    (targets,) = scraped["scrape_configs"][0]["static_configs"]
    assert targets["targets"] == [f"{name}:2381" for name in MEMBERS]
    assert {"prometheus", "grafana"} <= {
        *run(*COMPOSE, "--profile=metrics", "config", "--services").split()
    }
