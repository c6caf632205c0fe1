"""What every member says of itself, for the console of any of them.

A member asks the others while its console is looked at: in the background, all at once, and once in
`INTERVAL` seconds however many pages are open. A page shows what was heard last, and waits only if
that is old. A member that does not answer in time, or has no connection, counts as out of reach.
One of an earlier release refuses the question: it is within reach, and has said nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Annotated, NamedTuple, Protocol

import msgspec

from rusd.base.errors import Refusal
from rusd.console.certificates import Certificate
from rusd.raft.bodies import decoded_answer
from rusd.raft.errors import AnsweredWithError, MalformedAnswer, RequestTimeout
from rusd.raft.interface import Indexes, PeerCalls, Peers

#: Name of the question to another member.
KIND = "console report"
#: Seconds between two rounds of questions, for an answer, and from which on a report is old.
INTERVAL = 1.0
TIMEOUT = 1.0
OLD = 4.0
#: Seconds that a page waits for a report that is not old.
PATIENCE = 2.5
#: Bytes of an answer.
LARGEST = 16 << 10


#: A number that a page can show. (Without bounds an answer may hold thousands of digits.)
Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class BackupReport(msgspec.Struct, frozen=True):
    """Backups as the member that answers sees them; only the leader makes them."""

    #: Unix time of the newest in seconds, 0 if there is none; its revision; bytes.
    time: Number
    revision: Number
    size: Number
    failures: Number
    #: Why backups or the archive are overdue; "" if they are not.
    overdue: str
    #: Seconds since when committed entries are not archived; None without an archive.
    archive_behind: Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)] | None = None


class Report(msgspec.Struct, frozen=True):
    """One member, by itself. Fields of later releases must have defaults."""

    version: str
    term: Number
    #: The last index that is committed, and that is applied.
    index: Number
    applied: Number
    #: Bytes.
    db_size: Number
    db_in_use: Number
    quota: Number
    certificates: list[Certificate] = []
    #: None without `--backup-interval`.
    backups: BackupReport | None = None


class Heard(NamedTuple):
    """What came of asking one member.

    `committed` is the index known to be committed before the question. A later one would
    count as lag what was written since.
    """

    reachable: bool
    report: Report | None = None
    error: str = ""
    committed: int = 0

    @property
    def lag(self) -> int:
        """Entries that the member had not applied when it was asked."""
        return 0 if self.report is None else max(0, self.committed - self.report.applied)


class Node(Indexes, PeerCalls, Peers, Protocol):
    """The part of the Raft node that this room uses."""


class Reports:
    """Asks the other members, and answers them."""

    def __init__(self, node: Node, own: Callable[[], Awaitable[Report]]) -> None:
        self._node = node
        self._own = own
        self._heard: Mapping[int, Heard] = {}
        self._at = float("-inf")
        #: A page was asked for since the last round began; the end of the next round.
        self._looked = asyncio.Event()
        self._round = asyncio.Event()
        node.serve(KIND, self._answer)

    async def _answer(self, member: int, body: bytes) -> bytes:
        return msgspec.json.encode(await self._own())

    async def run(self) -> None:
        """Ask while a console looks, until cancelled."""
        while True:
            await self._looked.wait()
            self._looked.clear()
            committed = self._committed()
            members = self._node.peer_status()
            found = await asyncio.gather(
                *(self._ask(member, peer.connected, committed) for member, peer in members.items())
            )
            self._heard, self._at = dict(zip(members, found, strict=True)), time.monotonic()
            self._round.set()
            self._round = asyncio.Event()
            await asyncio.sleep(INTERVAL)

    async def latest(self) -> Mapping[int, Heard]:
        """Return what was heard last of the other members; asks again in the background."""
        self._looked.set()
        if time.monotonic() - self._at > OLD:
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._round.wait()
        return self._heard

    async def own(self) -> Report:
        """Return this member's own report."""
        return await self._own()

    def _committed(self) -> int:
        """Return the highest commit index of this member and of the round before."""
        reports = [one.report for one in self._heard.values() if one.report is not None]
        return max(self._node.commit_index, *(report.index for report in reports), 0)

    async def _ask(self, member: int, connected: bool, committed: int) -> Heard:
        if not connected:
            return Heard(False, error="no connection")
        try:
            report = decoded_answer(_decode, await self._asked(member))
            return Heard(True, report, committed=committed)
        except AnsweredWithError:
            return Heard(True, error="does not report (an earlier release)")
        except MalformedAnswer:
            return Heard(True, error="cannot be understood")
        except (RequestTimeout, TimeoutError):
            return Heard(False, error=f"no answer within {TIMEOUT:g} s")
        except Refusal as error:
            return Heard(False, error=str(error))

    async def _asked(self, member: int) -> bytes:
        async with asyncio.timeout(TIMEOUT):
            return await self._node.ask(member, KIND, b"", TIMEOUT)


def _decode(body: bytes) -> Report:
    if len(body) > LARGEST:
        raise ValueError("too long")
    return msgspec.json.decode(body, type=Report)
