"""A malformed body in a request between members is refused: no fault, no trace, few log lines."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from rusd.base.logs import LimitedLog
from rusd.raft.errors import MalformedAnswer
from rusd.raft.transport.frames import PeerRequest
from rusd.rpc.errors import Code
from tests.support.member import running
from tests.unit.member.test_interrupted_start import config
from tests.unit.raft.cluster import until

#: No field of protobuf, and no whole number of the fixed-size fields that members exchange.
GARBAGE = b"\xff" * 3
#: Requests without a body: it is not read.
WITHOUT_BODY = {"console report", "round trip", "space"}
OTHER = 7


def test_every_request_between_members_refuses_a_malformed_body(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with running(config(tmp_path)) as member:
            node = member._components.node  # type: ignore[union-attr]
            requests = node.driver.requests
            sent: list[Any] = []
            requests._send = lambda _, frame: sent.append(frame)
            kinds = sorted(requests._handlers)
            assert {"hashkv", "lease/renew", "lease/ttl", "promote"} < set(kinds)
            await until(lambda: node.is_leader)
            caplog.clear()
            for kind in kinds:
                for number in range(10):
                    requests.asked(OTHER, PeerRequest(number, kind, GARBAGE))
                await until(lambda: len(sent) == 10)
                errors = {tuple(frame.error) for frame in sent}
                sent.clear()
                if kind in WITHOUT_BODY:
                    assert errors == {()}
                else:
                    refusal = (int(Code.INVALID_ARGUMENT), "rusd: malformed request of a member")
                    assert errors == {refusal}, kind

    with caplog.at_level(logging.WARNING):
        asyncio.run(body())
    records = [one for one in caplog.records if "request" in one.getMessage()]
    assert 0 < len(records) <= LimitedLog.BURST
    assert not any(one.exc_info for one in caplog.records)


def test_a_malformed_answer_of_the_leader_is_a_refusal(tmp_path: Path) -> None:
    async def body() -> None:
        answers = [GARBAGE, bytes(16)]

        async def answered(*_: object) -> bytes:
            return answers.pop()

        async with running(config(tmp_path)) as member:
            components = member._components
            assert components is not None
            components.lessor._at_leader = answered  # type: ignore[method-assign]
            while answers:
                with pytest.raises(MalformedAnswer):
                    await components.lessor.renew(1)

    asyncio.run(body())
