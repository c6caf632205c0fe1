"""`--console-read-only`: which calls of the console are let through to the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from rusd.console.read_only import HEADER, ReadOnly
from rusd.door.gateway.paths import PATHS, READS
from rusd.door.http.body import Body, BodyMemory
from rusd.door.http.router import page_request
from rusd.rpc.call import Caller
from rusd.rpc.pages import PageRequest, PageResponse, Respond, nothing_to_cancel


class Gateway:
    """Serves everything."""

    async def page(self, request: PageRequest) -> PageResponse:
        return PageResponse(200)

    def begin(
        self, request: PageRequest, body: bytes, respond: Respond
    ) -> Callable[[], None] | None:
        respond(PageResponse(200))
        return nothing_to_cancel


def statuses(path: str, **headers: str) -> set[int]:
    """What the console is told, with a task and without."""
    guarded, found = ReadOnly(Gateway()), []
    asked = page_request("POST", path, headers, Body(None, BodyMemory()), Caller("test"))
    guarded.begin(asked, b"", lambda response: found.append(response.status))
    return {asyncio.run(guarded.page(asked)).status, *found}


@pytest.mark.parametrize("path", sorted(PATHS))
def test_the_console_reads_and_signs_in_and_changes_nothing(path: str) -> None:
    reads = PATHS[path] in READS or path == "/v3/auth/authenticate"
    beta = path.replace("/v3/", "/v3beta/")
    for spelling in (path, beta, path.replace("/kv/", "/%6bv/")):
        assert statuses(spelling, **{HEADER: "1"}) == {200 if reads else 403}


@pytest.mark.parametrize("path", ["/v3/kv/put", "/v3beta/kv/txn", "/v3/auth/user/add"])
def test_other_clients_change_what_they_may(path: str) -> None:
    assert statuses(path) == {200}
