"""The frames between members: their types, encoding, and checked decoding.

    frame = length u32 big-endian | msgpack map, whose first key is "type"

Each kind of frame is a class here: a tagged msgspec Struct whose fields carry their types and
bounds. `limit` returns the size limit of a frame from its first bytes. `decode` returns the frame.
Both raise `Refused` for anything else, and nothing else. Values are built only while they fit: n
bytes cost O(n) time and, with the bounds on lists, at most `MAX_FRAME` and some 40 MiB.

Compatibility: the names on the wire (tags and `name=`) are those of the first release. Unknown
fields are skipped without being built, so a release may add fields; each must have a default, which
is not sent and stands for the field in frames of earlier releases.

This module does not know what a frame means, and holds no state.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType, field

from rusd.raft.transport.incarnations import MAX_NUMBER, Features, Incarnation

PROTOCOL = "rusd-peer/1"
#: The largest frame accepted.
MAX_FRAME = 64 << 20
#: Bytes of one payload or response that fit into every frame that carries it.
MAX_CARRIED = MAX_FRAME - (64 << 10)
#: Size limits of the frames that carry neither entries nor proposals nor responses: numbers,
#: requests between members, and a chunk (512 KiB) or the list of files of a snapshot.
SMALL = 1 << 10
REQUEST = 1 << 20
SNAPSHOT = 8 << 20

#: No cluster gets there: at a thousand elections a second it takes 146 million years. What is added
#: to a term or an index still fits 64 bits.
MAX_TERM = 1 << 62
#: Entries of one append. A slice of 4 MiB holds fewer: an entry with a request has 20 bytes at
#: least, and one without is written once in a term.
MAX_ENTRIES = 1 << 18
#: Proposals of one forwarded batch; senders stop at 1,000.
MAX_BATCH = 1 << 12
MAX_FILES = 1 << 17


class Refused(Exception):
    """Bytes that violate the frame format. The text is a constant: it never quotes the bytes."""


Term = Annotated[int, Meta(ge=0, le=MAX_TERM)]
Index = Annotated[int, Meta(ge=0, le=MAX_TERM)]
#: 64 bits, as msgpack has them.
Number = Annotated[int, Meta(ge=0)]
Name = Annotated[str, Meta(max_length=255)]
Urls = Annotated[Sequence[str], Meta(max_length=256)]
Members = Annotated[Sequence[Number], Meta(max_length=1 << 17)]
#: Names a connection, chosen by the member that dialled it.
Nonce = Annotated[bytes, Meta(min_length=16, max_length=16)]
#: Command, index, term.
LogEntries = Annotated[Sequence[tuple[bytes, Index, Term]], Meta(max_length=MAX_ENTRIES)]


class Frame(msgspec.Struct, frozen=True, tag_field="type", omit_defaults=True, gc=False):
    """Base of all frames."""


# Before a connection is known to be a member's


class Hello(Frame, frozen=True, tag="hello"):
    """First frame of each side; see `handshake.py`."""

    protocol: Name
    cluster: Number
    member: Number
    #: Sent by the member that dialled; absent in releases before it.
    nonce: Nonce | UnsetType = UNSET
    #: The sender's data directory and start; absent in releases before them.
    incarnation: Incarnation | UnsetType = field(default=UNSET, name="life")
    #: How far the sender's journal is.
    term: Term = 0
    index: Index = 0
    #: The sender has no state yet: it joins the cluster.
    joining: bool = False
    #: `RaftConfig.features` of the sender; 0 in releases before it.
    features: Features = 0


class MembersRequest(Frame, frozen=True, tag="members"):
    """Request for the member list (`member_query.py`)."""

    protocol: Name


class MembersResponse(Frame, frozen=True, tag="membership"):
    """The member list, and what the responding member knows of each member."""

    cluster: Number
    #: Member id -> its peer URLs.
    members: Annotated[dict[Number, Urls], Meta(max_length=1 << 10)]
    learners: Members
    removed: Members
    #: Members that have served; absent in earlier releases, as are the fields below.
    started: Members = ()
    #: Member id -> number of its last known incarnation.
    incarnations: Annotated[dict[Number, Number], Meta(max_length=1 << 10)] = field(
        default_factory=dict, name="lives"
    )
    #: Index of the log that the list is not older than.
    index: Index = 0


class DialBack(Frame, frozen=True, tag="confirm"):
    """Request to the owner of an address whether it dialled this connection (`dial_back.py`)."""

    protocol: Name
    cluster: Number
    #: The member that asks.
    member: Number
    nonce: Nonce


class DialBackConfirmed(Frame, frozen=True, tag="confirmed"):
    """Confirmation of a `DialBack`."""


class HelloRefused(Frame, frozen=True, tag="refused"):
    """Ends a connection, in place of a hello or after the sender's own."""

    reason: Name
    #: Why the incarnation in the hello was refused, and the last known one's number.
    why: Literal["bootstrapped", "older"] | UnsetType = UNSET
    number: Annotated[int, Meta(ge=0, lt=MAX_NUMBER)] = 0
    #: What the process that sent the hello is known to have acknowledged; absent for others, and in
    #: earlier releases.
    term: Term = 0
    index: Index = 0


# Raft, as PySyncObj speaks it (`core/messages.py`)


class RaftFrame(Frame, frozen=True):
    """Base of the Raft messages."""

    term: Term


class AppendEntries(RaftFrame, frozen=True, tag="append_entries"):
    """Entries after (`prev_index`, `prev_term`), or a heartbeat: the last three fields are set
    together or not at all.
    """

    commit_index: Index
    prev_index: Index | UnsetType = field(default=UNSET, name="prevLogIdx")
    prev_term: Term | UnsetType = field(default=UNSET, name="prevLogTerm")
    entries: LogEntries | UnsetType = UNSET
    #: Grows with each rejection that the leader has followed, from 1 on; 0 in releases before it.
    attempt: Index = 0

    @property
    def is_heartbeat(self) -> bool:
        """Whether the message carries no position in the log."""
        return self.prev_index is UNSET


class AppendReply(RaftFrame, frozen=True, tag="next_node_idx"):
    """Answer to `AppendEntries`: the next index the follower expects."""

    next_index: Index = field(name="next_node_idx")
    #: The leader must continue at `next_index`.
    reset: bool
    #: Everything before `next_index` is durable on the follower.
    success: bool
    #: That of the append that is rejected: a later attempt may be under way.
    attempt: Index = 0


class RequestVote(RaftFrame, frozen=True, tag="request_vote"):
    """A candidate's request for a vote."""

    last_log_index: Index
    last_log_term: Term
    #: The leader asked for this election (`TimeoutNow`).
    transfer: bool = False


class VoteGranted(RaftFrame, frozen=True, tag="response_vote"):
    """The sender votes for the receiver in `term`."""


class TimeoutNow(RaftFrame, frozen=True, tag="timeout_now"):
    """Leadership transfer from the leader of `term` to the receiver (Raft thesis, section 3.10)."""


# rusd's own


class PreVote(Frame, frozen=True, tag="prevote"):
    """Request for a vote in `term` without raising the term (Raft thesis, section 9.6)."""

    term: Term
    last_index: Index
    last_term: Term


class PreVoteReply(Frame, frozen=True, tag="prevote_reply"):
    """The answer to a `PreVote`."""

    #: The voter's own term.
    term: Term
    #: The term that was asked about.
    asked: Term
    granted: bool


class HigherTerm(Frame, frozen=True, tag="term"):
    """Answer to an append of a lower term."""

    term: Term


class Propose(Frame, frozen=True, tag="propose"):
    """Proposals of a follower: (origin, sequence, payload) each."""

    term: Term
    batch: Annotated[Sequence[tuple[Number, Number, bytes]], Meta(max_length=MAX_BATCH)]


class ReadRound(Frame, frozen=True, tag="read"):
    """Request of the leader of `term` for confirmation, for reads (Raft thesis, section 6.4)."""

    term: Term
    number: Number


class ReadRoundReply(Frame, frozen=True, tag="read_reply"):
    """Confirmation of a leader."""

    term: Term
    number: Number


class ReadIndexRequest(Frame, frozen=True, tag="read_index"):
    """Request of a follower for a read index."""

    id: Number


class ReadIndexReply(Frame, frozen=True, tag="read_index_reply"):
    """The read index for a follower."""

    id: Number
    index: Index


class PeerRequest(Frame, frozen=True, tag="ask"):
    """A request of the rooms above (`requests.py`)."""

    id: Number
    kind: Name
    body: bytes


class PeerResponse(Frame, frozen=True, tag="answer"):
    """The answer to a `PeerRequest`."""

    id: Number
    body: bytes
    #: Empty, or code and text.
    error: Annotated[Sequence[int | str], Meta(max_length=2)]


class SnapshotRequest(Frame, frozen=True, tag="want_snapshot"):
    """Refusal of a follower to take entries of `term` before it has received a snapshot."""

    term: Term


class Removed(Frame, frozen=True, tag="removed"):
    """The receiver was removed from the cluster."""


class Snapshot(Frame, frozen=True, tag="snapshot", omit_defaults=False):
    """Base of the frames of a stream; `op` selects the type."""

    stream: Number


class SnapshotBegin(Snapshot, frozen=True, tag="snapshot"):
    """The list of files of a snapshot."""

    index: Index
    #: File name -> size in bytes.
    files: Annotated[dict[Name, Number], Meta(max_length=MAX_FILES)]
    op: Literal["begin"] = "begin"


class SnapshotChunk(Snapshot, frozen=True, tag="snapshot"):
    """Bytes of one file of a snapshot."""

    file: Name
    offset: Number
    data: bytes
    #: CRC-32 of `data`.
    crc: Number
    op: Literal["chunk"] = "chunk"


class SnapshotEnd(Snapshot, frozen=True, tag="snapshot"):
    """The end of a snapshot."""

    op: Literal["end"] = "end"


class SnapshotReply(Frame, frozen=True, tag="snapshot_reply"):
    """The acknowledgement of a part of a snapshot."""

    stream: Number
    #: Bytes written; negative at the end of the stream.
    received: int


OPENING = (Hello, MembersRequest, MembersResponse, DialBack, DialBackConfirmed, HelloRefused)
RAFT = (AppendEntries, AppendReply, RequestVote, VoteGranted, TimeoutNow)
OWN = (
    PreVote,
    PreVoteReply,
    HigherTerm,
    Propose,
    ReadRound,
    ReadRoundReply,
    ReadIndexRequest,
    ReadIndexReply,
    PeerRequest,
    PeerResponse,
    SnapshotRequest,
    Removed,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
    SnapshotReply,
)
_LIMITS: dict[type[Frame], int] = {
    AppendEntries: MAX_FRAME,
    Propose: MAX_FRAME,
    PeerRequest: REQUEST,
    PeerResponse: MAX_FRAME,
    SnapshotBegin: SNAPSHOT,
    SnapshotChunk: SNAPSHOT,
    SnapshotEnd: SNAPSHOT,
    MembersResponse: REQUEST,
}

Body = bytes | bytearray | memoryview
_Decode = Callable[[Body], Any]
#: Key of a kind (see `_key`) -> its size limit and decoder.
_Kinds = dict[bytes, tuple[int, _Decode]]

#: A frame's type is the first key of its map, and the text behind it.
_FIRST_KEY = b"\xa4type"
_HEAD = 7


def _key(kind: type[Frame]) -> bytes:
    """Return the constant bytes after the first byte of every frame of this kind."""
    tag = kind.__struct_config__.tag
    assert isinstance(tag, str)
    return _FIRST_KEY + bytes([0xA0 | len(tag)]) + tag.encode()


_decode_append = msgspec.msgpack.Decoder(AppendEntries).decode


def _append(body: Body) -> AppendEntries:
    frame = _decode_append(body)
    if not (frame.prev_index is UNSET) == (frame.prev_term is UNSET) == (frame.entries is UNSET):
        raise Refused("a message that lacks a field")
    return frame


class _SnapshotOp(Snapshot, frozen=True, tag="snapshot"):
    op: Literal["begin", "chunk", "end"]


_decode_op = msgspec.msgpack.Decoder(_SnapshotOp).decode
_SNAPSHOTS: dict[str, _Decode] = {
    "begin": msgspec.msgpack.Decoder(SnapshotBegin).decode,
    "chunk": msgspec.msgpack.Decoder(SnapshotChunk).decode,
    "end": msgspec.msgpack.Decoder(SnapshotEnd).decode,
}


def _snapshot(body: Body) -> Snapshot:
    frame: Snapshot = _SNAPSHOTS[_decode_op(body).op](body)
    return frame


_DECODERS: dict[type[Frame], _Decode] = {
    AppendEntries: _append,
    SnapshotBegin: _snapshot,
    SnapshotChunk: _snapshot,
    SnapshotEnd: _snapshot,
}


def _table(kinds: Iterable[type[Frame]]) -> _Kinds:
    return {
        _key(kind): (
            _LIMITS.get(kind, SMALL),
            _DECODERS.get(kind) or msgspec.msgpack.Decoder(kind).decode,
        )
        for kind in kinds
    }


_OF_ANYONE = _table(OPENING)
#: (A member that dialled sends `HelloRefused` behind its own hello.)
_OF_MEMBERS = _table((*RAFT, *OWN, HelloRefused))

#: Bytes that tell a frame's type, and with it the limit of its length.
PREFIX = 1 + max(map(len, (*_OF_ANYONE, *_OF_MEMBERS)))

_UNKNOWN = "not a message of this protocol"

_encode = msgspec.msgpack.Encoder().encode


def pack(frame: Frame) -> bytes:
    """Encode a frame for the wire."""
    body = _encode(frame)
    return len(body).to_bytes(4, "big") + body


def limit(prefix: Body, *, member: bool) -> int:
    """Return the size limit in bytes of a frame whose body begins with `prefix` (`PREFIX` bytes, or
    the whole body). `member`: the connection is confirmed as a member's. Raises Refused.
    """
    found = (_OF_MEMBERS if member else _OF_ANYONE).get(_key_of(prefix))
    if found is None:
        raise Refused(_UNKNOWN)
    return found[0]


def decode(body: Body, *, member: bool) -> Frame:
    """Decode a frame, if its kind is allowed on the connection (`member`: confirmed as a member's).
    Raises Refused.
    """
    found = (_OF_MEMBERS if member else _OF_ANYONE).get(_key_of(body))
    if found is None:
        raise Refused(_UNKNOWN)
    try:
        frame: Frame = found[1](body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused("a message with fields that no member sends") from None
    return frame


def _key_of(body: Body) -> bytes:
    """Return the `_key` of the frame; any other bytes if it has none."""
    head = bytes(body[:PREFIX])
    if len(head) < _HEAD or head[0] & 0xF0 != 0x80:  # a map of at most 15 fields
        return b""
    return head[1 : _HEAD + (head[6] & 0x1F)]
