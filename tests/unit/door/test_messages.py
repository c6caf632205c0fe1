"""gRPC's length-prefixed messages."""

from __future__ import annotations

import gzip

import pytest

from rusd.door.grpc.compression import MEMBERS_AT_MOST
from rusd.door.grpc.messages import PREFIX_BYTES, MessageReader, whole
from rusd.rpc.errors import Code, EtcdError

LIMIT = 1000


def framed(message: bytes) -> bytes:
    """Return `message` behind its prefix."""
    return len(message).to_bytes(PREFIX_BYTES, "big") + message


def taken(data: bytes, encoding: str = "identity", piece: int = 7) -> list[bytes]:
    """Return the messages read from `data` that arrives in pieces."""
    inbox, messages = MessageReader(LIMIT, encoding), []
    for start in range(0, len(data), piece):
        inbox.feed(data[start : start + piece])
        while (message := inbox.next()) is not None:
            messages.append(message)
    return messages


def refusal(data: bytes, encoding: str = "identity") -> tuple[Code, str]:
    with pytest.raises(EtcdError) as error:
        taken(data, encoding, len(data))
    return error.value.code, error.value.message


@pytest.mark.parametrize("piece", [1, 4, 5, 6, 1000])
def test_messages_come_out_as_they_went_in(piece: int) -> None:
    messages = [b"", b"one", b"x" * LIMIT, b"last"]
    assert taken(b"".join(map(framed, messages)), piece=piece) == messages


def test_a_chunk_that_is_one_message_is_taken_as_it_is() -> None:
    assert whole(framed(b"message"), LIMIT) == b"message"
    assert whole(framed(b""), LIMIT) == b""


@pytest.mark.parametrize(
    "chunk", [b"", b"\0\0", framed(b"two") * 2, framed(b"cut")[:-1], framed(b"x" * (LIMIT + 1))]
)
def test_any_other_chunk_is_not(chunk: bytes) -> None:
    assert whole(chunk, LIMIT) is None
    assert whole(b"\1" + framed(b"packed")[1:], LIMIT) is None


def test_a_message_is_taken_at_once_unless_a_part_of_one_waits() -> None:
    inbox = MessageReader(LIMIT, "identity")
    assert inbox.at_once(framed(b"one")) == b"one"
    inbox.feed(framed(b"two")[:3])
    assert inbox.at_once(framed(b"three")) is None
    inbox.feed(framed(b"two")[3:])
    assert inbox.next() == b"two"
    assert inbox.at_once(framed(b"four")) == b"four"
    assert inbox.at_once(framed(bytes(LIMIT + 1))) is None


def test_a_message_is_too_large_as_soon_as_its_prefix_says_so() -> None:
    assert refusal(b"\0" + (LIMIT + 1).to_bytes(4, "big")) == (
        Code.RESOURCE_EXHAUSTED,
        f"grpc: received message larger than max ({LIMIT + 1} vs. {LIMIT})",
    )


def test_a_gzipped_message_is_unpacked() -> None:
    packed = gzip.compress(b"hello" * 100)
    assert taken(b"\1" + framed(packed)[1:], "gzip") == [b"hello" * 100]
    assert taken(framed(b"plain"), "gzip") == [b"plain"]


def test_a_bomb_is_unpacked_to_the_limit_only() -> None:
    packed = gzip.compress(b"\0" * 900_000)
    assert len(packed) < LIMIT
    assert refusal(b"\1" + framed(packed)[1:], "gzip") == (
        Code.RESOURCE_EXHAUSTED,
        f"grpc: received message after decompression larger than max {LIMIT}",
    )


PACKED = gzip.compress(b"a request", mtime=0)


def test_the_members_of_a_gzipped_message_are_joined() -> None:
    packed = PACKED + gzip.compress(b"") + gzip.compress(b" in parts")
    assert taken(b"\1" + framed(packed)[1:], "gzip") == [b"a request in parts"]


#: As etcd 3.7 words them.
NOT_GZIP = {
    b"": "decompress the message: EOF",
    PACKED[:5]: "decompress the message: unexpected EOF",
    b"this is no gzip": "decompress the message: gzip: invalid header",
    PACKED[:2] + b"\7" + PACKED[3:]: "decompress the message: gzip: invalid header",
    PACKED[:-3]: "read decompressed data: unexpected EOF",
    PACKED[:-8] + b"sums" + PACKED[-4:]: "read decompressed data: gzip: invalid checksum",
    PACKED[:-4] + b"size": "read decompressed data: gzip: invalid checksum",
    PACKED + b"x": "read decompressed data: unexpected EOF",
    PACKED + b"behind the last member": "read decompressed data: gzip: invalid header",
    PACKED + bytes(20): "read decompressed data: gzip: invalid header",
    PACKED + PACKED[:-3]: "read decompressed data: unexpected EOF",
    PACKED * (MEMBERS_AT_MOST + 1): "read decompressed data: gzip: too many members",
}


@pytest.mark.parametrize("packed", NOT_GZIP, ids=range(len(NOT_GZIP)))
def test_garbage_in_or_behind_a_gzipped_message_is_refused(packed: bytes) -> None:
    inbox = MessageReader(1 << 20, "gzip")
    inbox.feed(b"\1" + framed(packed)[1:])
    with pytest.raises(EtcdError) as error:
        inbox.next()
    assert error.value.code == Code.INTERNAL
    assert error.value.message == f"grpc: failed to {NOT_GZIP[packed]}"


def test_a_compressed_message_needs_an_encoding() -> None:
    assert refusal(b"\1" + framed(b"x")[1:]) == (
        Code.INTERNAL,
        "grpc: compressed flag set with identity or empty encoding",
    )


def test_an_unknown_flag_is_an_internal_error() -> None:
    text = "grpc: received unexpected payload format 2"
    assert refusal(b"\2" + framed(b"x")[1:]) == (Code.INTERNAL, text)
