"""Pages without a socket: which there are, how targets are read, what a failure shows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from rusd.door.http.body import Body, BodyMemory
from rusd.door.http.rendering import SharedRendering
from rusd.door.http.router import AT_ONCE, Router, page_request
from rusd.door.time_budget import TimeBudget
from rusd.member.pages import debug_pages
from rusd.observe.health import HealthChecks
from rusd.observe.stacks import TASKS_SHOWN, stacks
from rusd.rpc.call import Caller
from rusd.rpc.pages import PageRequest, PageResponse
from rusd.state.machine import StateMachine
from tests.unit.door.toys import page_router
from tests.unit.support_node import InstantNode, Log

Get = Callable[..., PageResponse]


def request(method: str, target: str) -> PageRequest:
    return page_request(method, target, {}, Body(None, BodyMemory()), Caller("test"))


@pytest.fixture
def get(tmp_path: Path) -> Get:
    def get(
        target: str,
        method: str = "GET",
        metrics: Callable[[], bytes] = lambda: b"m 1\n",
        **advisory: str,
    ) -> PageResponse:
        async def run() -> PageResponse:
            machine = StateMachine(tmp_path)
            log = Log()
            node = InstantNode(log, 1, machine)
            log.elect(1)
            try:
                looks = {name: lambda text=text: text for name, text in advisory.items()}
                checks = HealthChecks(node, machine, advisory=looks)
                router = page_router(checks, metrics)
                return await router.serve(request(method, target))
            finally:
                machine.close()

        return asyncio.run(run())

    return get


@pytest.mark.parametrize(
    "target",
    [
        "/health",
        "/health?serializable=true&exclude=NOSPACE",
        "/livez",
        "/livez/serializable_read",
        "/readyz?verbose",
        "/readyz?exclude=a&exclude=b",
        "/readyz/linearizable_read",
        "/version",
        "/metrics",
        "http://localhost:2379/health",
        "/%68ealth",
    ],
)
def test_a_page_is_found_by_its_path(get: Get, target: str) -> None:
    assert get(target).status == 200


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "",
        "*",
        "/healthz",
        "/health/",
        "/readyz/",
        "/readyz/none",
        "/readyz/linearizable_read/x",
        "/version/x",
        "http://[::1/health",
        "/\x00\ud800",
    ],
)
def test_everything_else_is_not_found(get: Get, target: str) -> None:
    page = get(target)
    assert (page.status, page.body) == (404, b"404 page not found\n")


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("//health", "/health"),
        ("/./health?a=b", "/health?a=b"),
        ("/livez/../health", "/health"),
        ("/../../health", "/health"),
    ],
)
def test_too_many_slashes_and_dots_are_redirected(get: Get, target: str, location: str) -> None:
    page = get(target)
    assert (page.status, page.headers[0]) == (307, ("Location", location))


def test_an_encoded_slash_separates_nothing(get: Get) -> None:
    assert get("/livez/serializable_read").status == 200
    assert get("/livez%2fserializable_read").status == 404


@pytest.mark.parametrize(
    "target", ["/health", "/livez", "/readyz", "/readyz/non_learner", "/version"]
)
@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "OPTIONS", "BREW"])
def test_pages_are_only_read(get: Get, method: str, target: str) -> None:
    page = get(target, method)
    assert (page.status, page.body) == (405, b"Method Not Allowed\n")
    assert ("Allow", "GET") in page.headers


def test_a_backup_that_is_overdue_is_shown_and_leaves_the_member_ready(get: Get) -> None:
    overdue = "overdue for 7s, the last one is none"
    for probe in ("/health", "/livez", "/readyz"):
        assert get(probe, backup=overdue).status == 200
        assert get(probe, backup=overdue).body == get(probe).body
    shown = get("/readyz?verbose", backup=overdue)
    assert shown.status == 200
    assert shown.body.endswith(f"\n[-]backup failed: {overdue}\nok\n".encode())


def test_a_backup_that_is_overdue_fails_its_own_page_alone(get: Get) -> None:
    page = get("/readyz/backup", backup="overdue for 7s")
    assert (page.status, page.body) == (503, b"[-]backup failed: overdue for 7s\n\n")
    assert get("/readyz/backup", backup="").status == 200
    assert get("/livez/backup", backup="").status == 404
    assert get("/readyz/backup").status == 404


def test_metrics_answer_any_method(get: Get) -> None:
    assert get("/metrics", "POST").body == get("/metrics", "HEAD").body == b"m 1\n"


def test_content_types_are_those_of_etcd(get: Get) -> None:
    plain = ("Content-Type", "text/plain; charset=utf-8")
    assert get("/health").headers == [plain]
    strict = [plain, ("X-Content-Type-Options", "nosniff")]
    assert get("/readyz").headers == get("/nowhere").headers == strict
    assert get("/version").headers == [("Content-Type", "application/json")]
    assert get("/metrics").headers == [("Content-Type", "text/plain; version=0.0.4; charset=utf-8")]


def test_a_page_that_breaks_is_status_500_and_says_nothing_more(get: Get) -> None:
    def broken() -> bytes:
        raise ZeroDivisionError("secret")

    page = get("/metrics", metrics=broken)
    assert (page.status, page.body) == (500, b"Internal Server Error\n")


def test_metrics_are_rendered_once_for_all_that_asked_before_and_anew_for_the_next() -> None:
    rendered: list[int] = []

    def render() -> bytes:
        rendered.append(len(rendered))
        return b"%d" % len(rendered)

    async def run() -> None:
        rendering = SharedRendering(render, TimeBudget())

        async def get() -> bytes:
            return await rendering.rendered()

        assert set(await asyncio.gather(*(get() for _ in range(1000)))) == {b"1"}
        assert await get() == b"2"

    asyncio.run(run())
    assert len(rendered) == 2


def test_pages_that_wait_for_nothing_are_answered_a_few_in_one_turn() -> None:
    """In the order in which they were asked for; one that nobody waits for any more holds up
    none.
    """
    answered: list[int] = []

    async def ask(pages: Router, number: int) -> None:
        await pages.serve(request("GET", "/nowhere"))
        answered.append(number)

    async def run(pages: Router) -> None:
        asking = [asyncio.create_task(ask(pages, number)) for number in range(1000)]
        await asyncio.sleep(0)
        asking[500].cancel()
        while len(answered) < 999:
            before = len(answered)
            await asyncio.sleep(0)
            assert len(answered) - before <= AT_ONCE

    asyncio.run(run(Router({})))
    assert answered == [number for number in range(1000) if number != 500]


def test_the_stacks_of_threads_and_tasks_are_shown_only_if_asked_for() -> None:
    async def main() -> None:
        node = InstantNode(Log(), 1, None)  # type: ignore[arg-type]
        assert debug_pages(node, None).keys() == {"/debug/vars"}
        asyncio.current_task().set_name("the one that asks")  # type: ignore[union-attr]
        page = await debug_pages(node, stacks)["/debug/stacks"](request("GET", "/debug/stacks"))
        assert isinstance(page.body, bytes)
        text = page.body.decode()
        assert "thread MainThread\n" in text and " stacks\n" in text
        assert "task the one that asks\n" in text

    asyncio.run(main())


def test_only_the_first_tasks_are_shown() -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(asyncio.sleep(60)) for _ in range(TASKS_SHOWN + 5)]
        text = stacks().decode()
        assert text.count("\ntask ") == TASKS_SHOWN and "and 6 other tasks" in text
        for task in tasks:
            task.cancel()

    asyncio.run(main())
