"""HTTP/1.1 on the metrics URLs, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from rusd import ETCD_VERSION
from rusd.door.http.server import HttpDoor
from rusd.observe.health import HealthChecks
from rusd.proto import rpc_pb2 as rpc
from rusd.raft.errors import RequestTimeout
from rusd.state.command import Kind, encode
from rusd.state.machine import StateMachine
from tests.support.ports import free_port
from tests.support.tasks import unexpected
from tests.unit.door.toys import page_router
from tests.unit.support_node import InstantNode, Log

Get = Callable[..., Awaitable[tuple[int, str]]]


def with_probes(directory: Path, test: Callable[[Log, InstantNode, Get], Awaitable[None]]) -> None:
    async def run() -> None:
        machine = StateMachine(directory)
        log = Log()
        node = InstantNode(log, 1, machine)
        log.elect(1)
        door = HttpDoor(
            page_router(HealthChecks(node, machine), lambda: b"some_metric 1\n"), unexpected
        )
        port = free_port()
        await door.start([f"http://127.0.0.1:{port}"])
        async with aiohttp.ClientSession() as session:

            async def get(path: str, method: str = "GET") -> tuple[int, str]:
                async with session.request(method, f"http://127.0.0.1:{port}{path}") as response:
                    return response.status, await response.text()

            try:
                await test(log, node, get)
            finally:
                await door.stop()
                machine.close()

    asyncio.run(run())


def test_a_member_with_a_leader_is_healthy(tmp_path: Path) -> None:
    async def test(log: Log, node: InstantNode, get: Get) -> None:
        assert await get("/health") == (200, '{"health":"true","reason":""}')
        assert await get("/livez") == (200, "ok\n")
        assert await get("/readyz") == (200, "ok\n")

    with_probes(tmp_path, test)


def test_without_a_leader_it_is_alive_but_not_healthy(tmp_path: Path) -> None:
    async def test(log: Log, node: InstantNode, get: Get) -> None:
        log.elect(0)
        log.failure = RequestTimeout
        assert await get("/health") == (503, '{"health":"false","reason":"RAFT NO LEADER"}\n')
        assert await get("/health?serializable=true") == (200, '{"health":"true","reason":""}')
        assert (await get("/livez"))[0] == 200
        status, body = await get("/readyz")
        assert status == 503
        assert "[-]linearizable_read failed: etcdserver: request timed out\n" in body
        assert "[+]serializable_read ok\n" in body

    with_probes(tmp_path, test)


def test_a_leader_without_a_quorum_is_named_as_a_failed_read(tmp_path: Path) -> None:
    async def test(log: Log, node: InstantNode, get: Get) -> None:
        log.failure = RequestTimeout
        reason = "RANGE ERROR:etcdserver: request timed out"
        assert await get("/health") == (503, f'{{"health":"false","reason":"{reason}"}}\n')

    with_probes(tmp_path, test)


def test_a_corrupt_member_is_not_ready(tmp_path: Path) -> None:
    async def test(log: Log, node: InstantNode, get: Get) -> None:
        alarm = rpc.AlarmRequest(action=rpc.AlarmRequest.ACTIVATE, memberID=1, alarm=rpc.CORRUPT)
        await node.propose(encode(Kind.ALARM, alarm.SerializeToString()))
        assert await get("/health") == (503, '{"health":"false","reason":"ALARM CORRUPT"}\n')
        status, body = await get("/readyz")
        assert status == 503
        assert body.startswith("[-]data_corruption failed: alarm activated: CORRUPT\n")

    with_probes(tmp_path, test)


def test_an_alarm_is_the_reason_unless_it_is_excluded(tmp_path: Path) -> None:
    async def test(log: Log, node: InstantNode, get: Get) -> None:
        alarm = rpc.AlarmRequest(action=rpc.AlarmRequest.ACTIVATE, memberID=1, alarm=rpc.NOSPACE)
        await node.propose(encode(Kind.ALARM, alarm.SerializeToString()))
        assert await get("/health") == (503, '{"health":"false","reason":"ALARM NOSPACE"}\n')
        assert (await get("/health?exclude=NOSPACE"))[0] == 200

    with_probes(tmp_path, test)


def test_single_checks_exclusion_and_verbose_output(tmp_path: Path) -> None:
    async def test(log: Log, node: InstantNode, get: Get) -> None:
        assert await get("/readyz/linearizable_read") == (200, "ok\n")
        assert (await get("/readyz/no_such_check"))[0] == 404
        status, body = await get("/readyz?verbose")
        assert status == 200
        assert body.splitlines()[-1] == "ok"
        assert "[+]non_learner ok" in body.splitlines()
        log.failure = RequestTimeout
        everything_else = "[+]data_corruption ok\n[+]serializable_read ok\n[+]non_learner ok\nok\n"
        assert await get("/readyz?exclude=linearizable_read&verbose") == (200, everything_else)
        only = "/readyz/linearizable_read"
        failed = (503, "[-]linearizable_read failed: etcdserver: request timed out\n\n")
        assert await get(only) == failed
        assert await get(only + "?exclude=linearizable_read") == failed

    with_probes(tmp_path, test)


def test_version_names_the_cluster_version_once_it_is_decided(tmp_path: Path) -> None:
    async def test(log: Log, node: InstantNode, get: Get) -> None:
        body = f'{{"etcdserver":"{ETCD_VERSION}","etcdcluster":"not_decided","storage":"3.7.0"}}'
        assert await get("/version") == (200, body)
        await node.propose(encode(Kind.CLUSTER_VERSION, b"3.6.0"))
        assert '"etcdcluster":"3.6.0"' in (await get("/version"))[1]
        assert await get("/metrics") == (200, "some_metric 1\n")

    with_probes(tmp_path, test)


def test_other_methods_and_pages_are_refused(tmp_path: Path) -> None:
    async def test(log: Log, node: InstantNode, get: Get) -> None:
        for page in ("/health", "/livez", "/readyz/non_learner", "/version"):
            assert await get(page, "POST") == (405, "Method Not Allowed\n")
            assert (await get(page, "HEAD"))[0] == 405
        assert await get("/nowhere") == (404, "404 page not found\n")
        assert await get("/readyz/no_such_check") == (404, "404 page not found\n")

    with_probes(tmp_path, test)


def test_content_types_are_those_of_etcd(tmp_path: Path) -> None:
    async def run() -> None:
        machine = StateMachine(tmp_path)
        log = Log()
        node = InstantNode(log, 1, machine)
        door = HttpDoor(page_router(HealthChecks(node, machine), lambda: b""), unexpected)
        port = free_port()
        await door.start([f"http://127.0.0.1:{port}"])
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
                for page, kind in {
                    "/health": "text/plain; charset=utf-8",
                    "/readyz": "text/plain; charset=utf-8",
                    "/version": "application/json",
                    "/metrics": "text/plain; version=0.0.4; charset=utf-8",
                }.items():
                    async with session.get(page) as response:
                        assert response.headers["Content-Type"] == kind
                        assert "Server" not in response.headers
        finally:
            await door.stop()
            machine.close()

    asyncio.run(run())
