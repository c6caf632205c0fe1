"""The frames between members, and the only place where their bytes become values.

    frame = length u32 big-endian | msgpack map, whose first key is "type"

`limit` tells from the first bytes of a frame how long it may be, `decode` gives a dict with the
fields listed here, each of its type and within its bounds. Anything else raises `Refused`, and
nothing else is ever raised. Values are built only while they fit: n bytes cost O(n) time and, with
the bounds on lists, at most `MAX_FRAME` and some 40 MiB. Fields that are not listed (of another
release) are passed over without being built, so new fields must be optional.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, NotRequired, TypedDict, get_args, get_type_hints

import msgspec
from msgspec import Meta

from rusd.raft.transport.incarnations import MANY, Life

Frame = dict[str, Any]

PROTOCOL = "rusd-peer/1"
#: The largest frame accepted.
MAX_FRAME = 64 << 20
#: Bytes of one payload or answer that fit into every frame that carries it.
MAX_CARRIED = MAX_FRAME - (64 << 10)
#: Limits of the frames that carry neither entries nor proposals nor answers: numbers, questions
#: between members, and a chunk (512 KiB) or the list of files of a snapshot.
SMALL = 1 << 10
QUESTION = 1 << 20
SNAPSHOT = 8 << 20

#: No cluster gets there: at a thousand elections a second it takes 146 million years. What is added
#: to a term or an index still fits 64 bits.
MAX_TERM = 1 << 62
#: Entries of one append. A slice of 4 MiB holds fewer: an entry with a request has 20 bytes at
#: least, and one without is written once in a term.
MAX_ENTRIES = 1 << 18
#: Requests of one forwarded batch; senders stop at 1,000.
MAX_BATCH = 1 << 12
MAX_FILES = 1 << 17


class Refused(Exception):
    """Bytes that no member sends. The text is one of a few; what was sent is not in it."""


Term = Annotated[int, Meta(ge=0, le=MAX_TERM)]
Index = Annotated[int, Meta(ge=0, le=MAX_TERM)]
#: 64 bits, as msgpack has them.
Number = Annotated[int, Meta(ge=0)]
Name = Annotated[str, Meta(max_length=255)]
Urls = Annotated[list[str], Meta(max_length=256)]
Members = Annotated[list[Number], Meta(max_length=1 << 17)]


# Before a connection is a member's


class Hello(TypedDict):
    type: Literal["hello"]
    protocol: Name
    cluster: Number
    member: Number
    #: Of the connection, by the member that dialled; releases before it do not send one.
    nonce: NotRequired[Annotated[bytes, Meta(min_length=16, max_length=16)]]
    #: Which life of the member it is, and how far its journal (`handshake.py`); not of releases
    #: before these.
    life: NotRequired[Life]
    term: NotRequired[Term]
    index: NotRequired[Index]
    joining: NotRequired[bool]


class MembersQuestion(TypedDict):
    type: Literal["members"]
    protocol: Name


class Membership(TypedDict):
    type: Literal["membership"]
    cluster: Number
    members: Annotated[dict[Number, Urls], Meta(max_length=1 << 10)]
    learners: Members
    removed: Members
    started: NotRequired[Members]
    lives: NotRequired[Annotated[dict[Number, Number], Meta(max_length=1 << 10)]]
    index: NotRequired[Index]


class Confirm(TypedDict):
    type: Literal["confirm"]
    protocol: Name
    cluster: Number
    #: The member that asks.
    member: Number
    nonce: Annotated[bytes, Meta(min_length=16, max_length=16)]


class Confirmed(TypedDict):
    type: Literal["confirmed"]


class Turned(TypedDict):
    type: Literal["refused"]
    reason: Name
    #: What the life in a hello was refused for, and the last one known.
    why: NotRequired[Literal["bootstrapped", "older"]]
    number: NotRequired[Annotated[int, Meta(ge=0, lt=MANY)]]


# Of PySyncObj


class AppendEntries(TypedDict):
    type: Literal["append_entries"]
    term: Term
    commit_index: Index
    prevLogIdx: NotRequired[Index]
    prevLogTerm: NotRequired[Term]
    entries: NotRequired[Annotated[list[tuple[bytes, Index, Term]], Meta(max_length=MAX_ENTRIES)]]


class NextNodeIdx(TypedDict):
    type: Literal["next_node_idx"]
    term: Term
    next_node_idx: Index
    reset: bool
    success: bool


class RequestVote(TypedDict):
    type: Literal["request_vote"]
    term: Term
    last_log_index: Index
    last_log_term: Term
    transfer: NotRequired[bool]


class ResponseVote(TypedDict):
    type: Literal["response_vote"]
    term: Term


class TimeoutNow(TypedDict):
    type: Literal["timeout_now"]
    term: Term


# Our own


class Prevote(TypedDict):
    type: Literal["prevote"]
    term: Term
    last_index: Index
    last_term: Term


class PrevoteReply(TypedDict):
    type: Literal["prevote_reply"]
    term: Term
    asked: Term
    granted: bool


class HigherTerm(TypedDict):
    type: Literal["term"]
    term: Term


class Propose(TypedDict):
    type: Literal["propose"]
    term: Term
    batch: Annotated[list[tuple[Number, Number, bytes]], Meta(max_length=MAX_BATCH)]


class Read(TypedDict):
    type: Literal["read"]
    term: Term
    number: Number


class ReadReply(TypedDict):
    type: Literal["read_reply"]
    term: Term
    number: Number


class ReadIndex(TypedDict):
    type: Literal["read_index"]
    id: Number


class ReadIndexReply(TypedDict):
    type: Literal["read_index_reply"]
    id: Number
    index: Index


class Ask(TypedDict):
    type: Literal["ask"]
    id: Number
    kind: Name
    body: bytes


class Answer(TypedDict):
    type: Literal["answer"]
    id: Number
    body: bytes
    #: None, or code and text.
    error: Annotated[list[int | str], Meta(max_length=2)]


class WantSnapshot(TypedDict):
    type: Literal["want_snapshot"]
    term: Term


class Removed(TypedDict):
    type: Literal["removed"]


class Snapshot(TypedDict):
    type: Literal["snapshot"]
    stream: Number
    op: Literal["begin", "chunk", "end"]
    index: NotRequired[Index]
    files: NotRequired[Annotated[dict[Name, Number], Meta(max_length=MAX_FILES)]]
    file: NotRequired[Name]
    offset: NotRequired[Number]
    data: NotRequired[bytes]
    crc: NotRequired[Number]


class SnapshotReply(TypedDict):
    type: Literal["snapshot_reply"]
    stream: Number
    #: Negative at the end of the stream.
    received: int


#: Frames of PySyncObj.
_RAFT = (AppendEntries, NextNodeIdx, RequestVote, ResponseVote, TimeoutNow)
_OPENING = (Hello, MembersQuestion, Membership, Confirm, Confirmed, Turned)
_OWN = (
    Prevote,
    PrevoteReply,
    HigherTerm,
    Propose,
    Read,
    ReadReply,
    ReadIndex,
    ReadIndexReply,
    Ask,
    Answer,
    WantSnapshot,
    Removed,
    Snapshot,
    SnapshotReply,
)


def _kind(frame: type) -> str:
    kind: str = get_args(get_type_hints(frame)["type"])[0]
    return kind


RAFT = frozenset(map(_kind, _RAFT))
#: Frames of a connection before it is known to be a member's.
OPENING = frozenset(map(_kind, _OPENING))
_LIMITS = {
    "append_entries": MAX_FRAME,
    "propose": MAX_FRAME,
    "snapshot": SNAPSHOT,
    "ask": QUESTION,
    "answer": MAX_FRAME,
    "membership": QUESTION,
}

#: What a frame's type is found by: the first key of its map, and the text behind it.
_FIRST_KEY = b"\xa4type"
_HEAD = 7


def _key(kind: str) -> bytes:
    return _FIRST_KEY + bytes([0xA0 | len(kind)]) + kind.encode()


def _whole_append(frame: Frame) -> bool:
    return ("prevLogIdx" in frame) == ("prevLogTerm" in frame) == ("entries" in frame)


_SNAPSHOT_FIELDS = {
    "begin": {"index", "files"},
    "chunk": {"file", "offset", "data", "crc"},
    "end": set[str](),
}


def _whole_snapshot(frame: Frame) -> bool:
    return frame.keys() >= _SNAPSHOT_FIELDS[frame["op"]]


#: Whether the fields are there that depend on others.
_WHOLE: dict[str, Callable[[Frame], bool]] = {
    "append_entries": _whole_append,
    "snapshot": _whole_snapshot,
}
_KINDS = {_kind(frame): frame for frame in (*_OPENING, *_RAFT, *_OWN)}
_Known = dict[bytes, tuple[int, Callable[[Any], Any], Callable[[Frame], bool] | None]]


def _table(kinds: Iterable[str]) -> _Known:
    """Key -> (most bytes, decoder, check of the whole)."""
    return {
        _key(kind): (
            _LIMITS.get(kind, SMALL),
            msgspec.msgpack.Decoder(_KINDS[kind]).decode,
            _WHOLE.get(kind),
        )
        for kind in kinds
    }


_OF_STRANGERS = _table(OPENING)
#: (A member that dialled says behind its own hello that it refuses the other's.)
_OF_MEMBERS = _table((_KINDS.keys() - OPENING) | {"refused"})

#: Bytes that tell a frame's type, and with it the limit of its length.
PREFIX = 1 + max(map(len, (*_OF_STRANGERS, *_OF_MEMBERS)))

_encode = msgspec.msgpack.Encoder().encode


def pack(frame: Frame) -> bytes:
    """A frame as it goes over the wire."""
    body = _encode(frame)
    return len(body).to_bytes(4, "big") + body


def limit(prefix: bytes | bytearray | memoryview, *, member: bool) -> int:
    """How many bytes a frame may have whose body begins with `prefix` (`PREFIX` bytes, or all of
    it). `member`: from a connection that is known to be a member's. Raises Refused."""
    return _known(prefix, member)[0]


def decode(body: bytes | bytearray | memoryview, *, member: bool) -> Frame:
    """The frame, if it is of a kind that may come from a member, or else from anybody. Raises
    Refused."""
    _, decoder, whole = _known(body, member)
    try:
        frame: Frame = decoder(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused("a message with fields that no member sends") from None
    if whole is not None and not whole(frame):
        raise Refused("a message that lacks a field")
    return frame


def _known(
    body: bytes | bytearray | memoryview, member: bool
) -> tuple[int, Callable[[Any], Any], Callable[[Frame], bool] | None]:
    found = (_OF_MEMBERS if member else _OF_STRANGERS).get(_key_of(body))
    if found is None:
        raise Refused("not a message of this protocol")
    return found


def _key_of(body: bytes | bytearray | memoryview) -> bytes:
    """`_key` of the frame; any other bytes if it has none."""
    head = bytes(body[:PREFIX])
    if len(head) < _HEAD or head[0] & 0xF0 != 0x80:  # a map of at most 15 fields
        return b""
    return head[1 : _HEAD + (head[6] & 0x1F)]
