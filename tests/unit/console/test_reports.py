"""Reports of other members: when they are asked, and what counts as an answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from rusd.console import reports
from rusd.console.certificates import Certificate
from rusd.console.reports import LARGEST, BackupReport, Heard, Report, Reports
from rusd.raft.errors import AnsweredWithError, ConnectionLost, RequestTimeout
from rusd.raft.node import PeerStatus

OWN = Report("1.0", 2, 7, 7, 100, 50, 1000, [Certificate("--cert-file", 5)])


async def own() -> Report:
    return OWN


class Node:
    """A member with one other, which answers as the test says."""

    def __init__(self, answer: Callable[[], Awaitable[bytes]], connected: bool = True) -> None:
        self._answer = answer
        self._connected = connected
        self.asked = 0
        self.term, self.commit_index, self.applied_index = OWN.term, OWN.index, OWN.applied
        self.handlers: dict[str, Callable[[int, bytes], Awaitable[bytes]]] = {}

    def serve(self, kind: str, handler: Callable[[int, bytes], Awaitable[bytes]]) -> None:
        self.handlers[kind] = handler

    async def ask(self, member_id: int, kind: str, body: bytes, timeout: float) -> bytes:
        self.asked += 1
        return await self._answer()

    def connected_since(self, member: int) -> float | None:
        return None

    def peer_status(self) -> dict[int, PeerStatus]:
        return {2: PeerStatus(self._connected, 0)}


def heard(answer: Callable[[], Awaitable[bytes]], connected: bool = True) -> Heard:
    async def look() -> Heard:
        asking = Reports(Node(answer, connected), own)
        running = asyncio.ensure_future(asking.run())
        found = await asking.latest()
        running.cancel()
        return found[2]

    return asyncio.run(look())


def raises(error: Exception) -> Callable[[], Awaitable[bytes]]:
    async def answer() -> bytes:
        raise error

    return answer


def says(body: bytes) -> Callable[[], Awaitable[bytes]]:
    async def answer() -> bytes:
        return body

    return answer


def test_a_member_is_told_what_the_other_says_of_itself() -> None:
    async def answered() -> bytes:
        node = Node(says(b""))
        Reports(node, own)
        return await node.handlers[reports.KIND](2, b"")

    assert heard(says(asyncio.run(answered()))) == Heard(True, OWN, committed=7)


def test_a_report_of_a_later_release_is_read_as_far_as_it_is_known() -> None:
    later = {**msgspec.to_builtins(OWN), "novel": [1]}
    assert heard(says(msgspec.json.encode(later))) == Heard(True, OWN, committed=7)
    without = {name: value for name, value in later.items() if name != "certificates"}
    found = heard(says(msgspec.json.encode(without))).report
    assert found is not None and found.certificates == []


def test_what_is_written_after_the_question_is_no_lag() -> None:
    async def answer() -> bytes:
        node.commit_index = 1_000
        return msgspec.json.encode(OWN)

    node = Node(answer)

    async def look() -> Heard:
        asking = Reports(node, own)
        running = asyncio.ensure_future(asking.run())
        found = await asking.latest()
        running.cancel()
        return found[2]

    assert asyncio.run(look()).lag == 0


def test_a_member_that_is_behind_what_was_committed_before_the_question_lags() -> None:
    behind = msgspec.structs.replace(OWN, index=5, applied=3)
    assert heard(says(msgspec.json.encode(behind))).lag == 4


def test_a_member_of_an_earlier_release_is_within_reach() -> None:
    found = heard(raises(AnsweredWithError(12, "unknown")))
    assert (found.reachable, found.report) == (True, None)
    assert "earlier release" in found.error


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b'{"version":1}', b'"' + b"x" * LARGEST + b'"'])
def test_an_answer_that_is_no_report_harms_nobody(body: bytes) -> None:
    found = heard(says(body))
    assert (found.reachable, found.report, found.error) == (True, None, "cannot be understood")


@pytest.mark.parametrize("number", ["9" * 400, "1e300", str(1 << 63)])
@pytest.mark.parametrize("name", ["index", "db_size", "not_after", "time", "archive_behind"])
def test_numbers_that_no_page_can_show_make_no_report(name: str, number: str) -> None:
    backups = BackupReport(1, 1, 1, 1, "", 1.5)
    body = msgspec.json.encode(msgspec.structs.replace(OWN, backups=backups))
    shown = re.sub(rb'("%b":)[0-9.]+' % name.encode(), rb"\g<1>" + number.encode(), body)
    assert shown != body
    assert heard(says(shown)) == Heard(True, error="cannot be understood")


@pytest.mark.parametrize("error", [RequestTimeout(), ConnectionLost()])
def test_a_member_without_an_answer_is_out_of_reach(error: Exception) -> None:
    found = heard(raises(error))
    assert (found.reachable, found.report) == (False, None)
    assert found.error


def test_a_member_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "TIMEOUT", 0.01)

    async def never() -> bytes:
        await asyncio.get_running_loop().create_future()
        return b""

    assert not heard(never).reachable


def test_a_member_without_a_connection_is_not_asked() -> None:
    assert heard(raises(AssertionError("asked")), connected=False) == Heard(
        False, None, "no connection"
    )


def test_many_pages_cause_one_question_and_none_when_nobody_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reports, "INTERVAL", 0.01)

    async def story() -> None:
        node = Node(says(msgspec.json.encode(OWN)))
        asking = Reports(node, own)
        running = asyncio.ensure_future(asking.run())
        await asyncio.gather(*(asking.latest() for _ in range(100)))
        assert node.asked == 1
        while node.asked < 2:
            await asking.latest()  # (what is known is told at once)
            await asyncio.sleep(0)
        before = node.asked
        await asyncio.sleep(0.05)
        assert node.asked <= before + 1, "the last look is followed by one question at most"
        running.cancel()

    asyncio.run(asyncio.wait_for(story(), 20))


def test_a_page_waits_for_old_reports_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "PATIENCE", 0.01)

    async def story() -> None:
        assert await Reports(Node(says(b"")), own).latest() == {}, "the rounds have not begun"

    asyncio.run(asyncio.wait_for(story(), 20))
