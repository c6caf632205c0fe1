"""The table of errors: every refusal of the rooms below has a status that clients are told."""

import asyncio
import importlib
import pkgutil
from typing import Any

import pytest

import rusd
from rusd.base.errors import Refusal
from rusd.raft.errors import AnsweredWithError, RequestTimeout, UnknownQuestion
from rusd.raft.transport.requests import PeerRequests
from rusd.rpc import errors
from rusd.rpc.errors import Code, Definition, EtcdError, as_etcd, described
from tests.support.tasks import unexpected

DEFINITIONS = {name: value for name, value in vars(errors).items() if isinstance(value, Definition)}


def subclasses(kind: type[Refusal]) -> set[type[Refusal]]:
    found = set(kind.__subclasses__())
    return found.union(*map(subclasses, found))


def refusals() -> list[type[Refusal]]:
    """Every refusal that a room of the tree defines."""
    for module in pkgutil.walk_packages(rusd.__path__, "rusd."):
        if module.name.endswith(".errors"):
            importlib.import_module(module.name)
    made = {EtcdError, AnsweredWithError, UnknownQuestion}
    rooms = {kind for kind in subclasses(Refusal) if kind.__module__.startswith("rusd.")}
    rooms = {kind for kind in rooms if not kind.__subclasses__()}  # no base is raised itself
    return sorted(rooms - made, key=lambda kind: f"{kind.__module__}.{kind.__name__}")


@pytest.mark.parametrize("kind", refusals(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_refusal_of_a_room_below_is_answered_as_an_error_of_the_table(
    kind: type[Refusal],
) -> None:
    told = as_etcd(kind())
    assert told is not None
    assert (told.code, told.message) in DEFINITIONS.values()
    assert str(kind()), "logs show a reason"


def test_a_fault_is_no_refusal() -> None:
    assert as_etcd(ValueError("a bug")) is None
    assert as_etcd(TimeoutError()) is None


def test_an_error_of_the_table_is_answered_unchanged() -> None:
    error = errors.NO_LEADER()
    assert as_etcd(error) is error


def answered(error: Exception) -> Exception:
    """The exception in a member that asked, of a handler that raised `error` in another."""

    async def run() -> Exception:
        frames: dict[str, list[Any]] = {"asker": [], "answerer": []}
        sent = {name: asyncio.Event() for name in frames}

        def sender(name: str) -> Any:
            def send(member: int, frame: Any) -> None:
                frames[name].append(frame)
                sent[name].set()

            return send

        async def fail(member: int, body: bytes) -> bytes:
            raise error

        asker = PeerRequests(sender("asker"), unexpected)
        answerer = PeerRequests(sender("answerer"), unexpected, described)
        answerer.serve("fail", fail)
        asking = asyncio.ensure_future(asker.ask(2, "fail", b"", 1.0))
        await sent["asker"].wait()
        answerer.asked(1, frames["asker"].pop())
        await sent["answerer"].wait()
        asker.answered(2, frames["answerer"].pop())
        with pytest.raises(Refusal) as refused:
            await asking
        return refused.value

    return asyncio.run(run())


@pytest.mark.parametrize("name", DEFINITIONS)
def test_an_error_of_the_table_crosses_between_members_unchanged(name: str) -> None:
    assert as_etcd(answered(DEFINITIONS[name]())) == DEFINITIONS[name]()


def test_a_refusal_of_a_room_below_crosses_between_members_as_its_error_of_the_table() -> None:
    assert as_etcd(answered(RequestTimeout())) == errors.TIMEOUT()


def test_a_question_a_member_does_not_know_is_unimplemented() -> None:
    expected = EtcdError(Code.UNIMPLEMENTED, "no such question: space")
    assert as_etcd(answered(UnknownQuestion("space"))) == expected


def test_a_fault_crosses_between_members_as_an_internal_error() -> None:
    assert as_etcd(answered(ValueError("a bug"))) == EtcdError(Code.INTERNAL, "ValueError('a bug')")


def test_a_code_of_a_later_release_becomes_unknown() -> None:
    assert as_etcd(AnsweredWithError(77, "later")) == EtcdError(Code.UNKNOWN, "later")
