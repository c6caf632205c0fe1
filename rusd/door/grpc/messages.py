"""gRPC's length-prefixed messages: read from the bytes of a stream, written before an answer.

    1 byte: compressed or not · 4 bytes: length · the message

Errors have grpc-go's texts, which etcd's clients see. A message is refused as soon as its prefix
shows that it is too large, and decompression stops at the limit: neither costs more memory than an
allowed message.
"""

from rusd.door.grpc.compression import decompress
from rusd.rpc.errors import Code, EtcdError

PREFIX_BYTES = 5
#: Bytes of the longest message that is sent, as in etcd (the prefix could express twice as many).
SEND_AT_MOST = (1 << 31) - 1
#: Compressions a client may choose (grpc-accept-encoding).
ENCODINGS = ("identity", "gzip")


def too_long(size: int, *, unary: bool = False) -> EtcdError:
    """Return the error that replaces a message of more than `SEND_AT_MOST` bytes."""
    text = f"trying to send message larger than max ({size} vs. {SEND_AT_MOST})"
    return EtcdError(Code.RESOURCE_EXHAUSTED, f"grpc: {text}" if unary else text)


def whole(chunk: bytes, limit: int) -> bytes | None:
    """Return the message in `chunk` if that is exactly one, uncompressed, of at most `limit`
    bytes.
    """
    size = len(chunk) - PREFIX_BYTES
    # A compression byte of 0 in front makes the prefix a five-byte number.
    if 0 <= size <= limit and int.from_bytes(chunk[:PREFIX_BYTES], "big") == size:
        return chunk[PREFIX_BYTES:]
    return None


class MessageReader:
    """Reads messages from the bytes of one stream."""

    __slots__ = ("_buffer", "_encoding", "_limit")

    def __init__(self, limit: int, encoding: str) -> None:
        """`limit`: bytes of one message, before and after decompression.

        `encoding`: the call's grpc-encoding.
        """
        self._limit = limit
        self._encoding = encoding
        self._buffer = bytearray()

    def __len__(self) -> int:
        """Bytes buffered."""
        return len(self._buffer)

    @property
    def missing(self) -> int:
        """Bytes missing from the current message, or from its prefix."""
        buffer = self._buffer
        if len(buffer) < PREFIX_BYTES:
            return PREFIX_BYTES - len(buffer)
        size = int.from_bytes(buffer[1:PREFIX_BYTES], "big")
        return max(PREFIX_BYTES + size - len(buffer), 0)

    def clear(self) -> None:
        """Drop what is buffered."""
        self._buffer.clear()

    def at_once(self, chunk: bytes) -> bytes | None:
        """Return the message in `chunk` if that is exactly one and need not be buffered; None if
        `chunk` is for `feed`.
        """
        return None if self._buffer else whole(chunk, self._limit)

    def feed(self, chunk: bytes) -> None:
        self._buffer += chunk

    def next(self) -> bytes | None:
        """Return the next whole message, decompressed; None if it is incomplete.

        Raises EtcdError if it is malformed or too large.
        """
        buffer = self._buffer
        if len(buffer) < PREFIX_BYTES:
            return None
        size = int.from_bytes(buffer[1:PREFIX_BYTES], "big")
        if buffer[0]:
            self._check_compressed(buffer[0])
        if size > self._limit:
            raise EtcdError(
                Code.RESOURCE_EXHAUSTED,
                f"grpc: received message larger than max ({size} vs. {self._limit})",
            )
        end = PREFIX_BYTES + size
        if len(buffer) < end:
            return None
        with memoryview(buffer) as view:
            message = bytes(view[PREFIX_BYTES:end])
        compressed = buffer[0]
        del buffer[:end]
        return decompress(message, self._limit) if compressed else message

    def _check_compressed(self, flag: int) -> None:
        if flag != 1:
            raise EtcdError(Code.INTERNAL, f"grpc: received unexpected payload format {flag}")
        if self._encoding == "identity":
            raise EtcdError(
                Code.INTERNAL, "grpc: compressed flag set with identity or empty encoding"
            )
