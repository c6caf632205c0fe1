"""Header blocks: the rules for request headers, a cache of repeated blocks, constant responses.

After its first calls a gRPC client sends header blocks of a few bytes, references into HPACK's
dynamic table that are the same for every call of a method. `HeaderReader` caches the meaning of
such a block, checks and interpretation included, while the table stays unchanged. A block that
changes the table (a new deadline does) is decoded, and the cache is emptied, whatever becomes of
its request: from then on the same references mean other fields, tokens of other callers among them.

Blocks that are sent use literals that no table stores: a block is the same bytes on every
connection, and encoded once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from hpack import Encoder, NeverIndexedHeaderTuple
from hpack.exceptions import HPACKError, OversizedHeaderListError

from rusd.door.h2.errors import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, H2ConnectionError
from rusd.door.h2.hpack_decoder import Decoder, Field

T = TypeVar("T")
R = TypeVar("R")

#: Blocks cached per connection, and the longest that is.
CACHED_BLOCKS = 64
CACHED_BYTES = 512
#: Bytes of memory that a field takes besides its name and value, decoded and interpreted.
FIELD_MEMORY = 256

_REQUIRED = frozenset((b":method", b":scheme", b":path"))
_PSEUDO = _REQUIRED | {b":authority"}
#: Headers about an HTTP/1 connection; HTTP/2 forbids them.
_HOP_BY_HOP = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade")
)
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")


class Malformed(Exception):
    """Headers that are not a valid request: a stream error (RFC 9113, 8.1.1)."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request's headers; names are lowercase."""

    method: str
    scheme: str
    authority: str
    path: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    #: As the client declared it; None if it did not.
    content_length: int | None = None


def block(fields: list[tuple[str, str]]) -> bytes:
    """Encode a header block that a decoder reads in any state of its dynamic table."""
    encoder = Encoder()
    return bytes(encoder.encode([NeverIndexedHeaderTuple(*one) for one in fields], huffman=False))


class HeaderReader(Generic[T]):
    """One connection's header blocks, in the order they come."""

    def __init__(self, max_list_size: int, interpret: Callable[[Request], T]) -> None:
        """`max_list_size`: bytes of one decoded list, 32 per field included (RFC 9113, 6.5.2).

        `interpret` turns a request into what the user of the connection needs; it must depend on
        the request only, since its results are cached.
        """
        self._decoder = Decoder(max_list_size)
        self._interpret = interpret
        self._known: dict[bytes, T] = {}
        #: Bytes of memory of the request read last (0 if it is cached), and of the cache.
        self.weight = 0
        self.cached = 0
        #: Whether a part of the block under way was fed.
        self._fed = False

    def feed(self, piece: bytes) -> None:
        """Decode a part of a block that ends with a later one. Raises H2ConnectionError."""
        self._fed = True
        self._use(self._decoder.feed, piece)

    @property
    def part(self) -> int:
        """Bytes of memory of the block under way."""
        fields, size = self._decoder.part
        return size + FIELD_MEMORY * fields

    def request(self, encoded: bytes) -> T:
        """Return the meaning of a block. Raises Malformed, or H2ConnectionError if decoding
        fails.
        """
        known = self._known.get(encoded) if not self._fed else None
        if known is not None:
            self.weight = 0
            return known
        before, whole = self._decoder.changes, not self._fed
        fields = self._decode(encoded)
        self.weight = self._decoder.list_size + FIELD_MEMORY * len(fields)
        meaning = self._interpret(_request(fields))
        if whole and self._decoder.changes == before and len(encoded) <= CACHED_BYTES:
            if len(self._known) >= CACHED_BLOCKS:
                self._clear_cache()
            self._known[encoded] = meaning
            self.cached += self.weight
            self.weight = 0
        return meaning

    def _clear_cache(self) -> None:
        self._known.clear()
        self.cached = 0

    def trailers(self, encoded: bytes) -> None:
        """Decode trailers, which keeps the dynamic table in step. Raises Malformed for
        pseudo-headers.
        """
        for name, value in self._decode(encoded):
            _check_field(name, value)

    def _decode(self, encoded: bytes) -> list[Field]:
        """Decode a block, or the end of the one that was fed."""
        self._fed = False
        return self._use(self._decoder.decode, encoded)

    def _use(self, decode: Callable[[bytes], R], encoded: bytes) -> R:
        """Use the decoder. Empties the cache if the table changed, before fields are checked."""
        before = self._decoder.changes
        try:
            return decode(encoded)
        except OversizedHeaderListError as error:
            raise H2ConnectionError(ENHANCE_YOUR_CALM, "header list too large") from error
        except (HPACKError, IndexError, ValueError) as error:
            raise H2ConnectionError(COMPRESSION_ERROR, "header block cannot be decoded") from error
        finally:
            if self._decoder.changes != before:
                self._clear_cache()


def _request(fields: list[Field]) -> Request:
    """Check a request's headers (RFC 9113, 8.2 and 8.3)."""
    pseudo: dict[bytes, bytes] = {}
    regular: list[tuple[str, str]] = []
    length = None
    for name, value in fields:
        if name.startswith(b":"):
            if regular or name in pseudo or name not in _PSEUDO:
                raise Malformed
            pseudo[name] = value
            continue
        _check_field(name, value)
        if name == b"content-length":
            length = _length(value, length)
        regular.append((name.decode("ascii"), value.decode("latin-1")))
    if not (pseudo.keys() >= _REQUIRED and pseudo[b":path"]):
        raise Malformed
    for value in pseudo.values():
        _check_value(value)
    method, scheme, authority, path = (
        pseudo.get(name, b"").decode("latin-1")
        for name in (b":method", b":scheme", b":authority", b":path")
    )
    return Request(method, scheme, authority, path, regular, length)


def _check_field(name: bytes, value: bytes) -> None:
    if not name or not _TOKEN.issuperset(name) or name in _HOP_BY_HOP:
        raise Malformed
    if name == b"te" and value != b"trailers":
        raise Malformed
    _check_value(value)


def _check_value(value: bytes) -> None:
    if b"\0" in value or b"\r" in value or b"\n" in value:
        raise Malformed


def _length(value: bytes, before: int | None) -> int:
    if not value.isdigit() or len(value) > 18 or (before is not None and before != int(value)):
        raise Malformed
    return int(value)
