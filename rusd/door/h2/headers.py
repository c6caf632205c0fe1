"""Header blocks: requests in (`decoding.py`) and constant answers out.

A gRPC client repeats itself: after its first calls a header block is a few bytes of references into
the compression table, the same ones for every call of a method. `HeaderReader` therefore remembers
what a block meant, checks and interpretation included, as long as the table stays as it is. Blocks
that change the table (a new deadline does) are decoded anew, and everything remembered before them
is forgotten, whatever becomes of their request: a block's references mean other fields from then
on, other callers' tokens among them.

Answers are written without the table, as literals that no table remembers: then a block is the same
bytes on every connection, made once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from hpack import Encoder, NeverIndexedHeaderTuple
from hpack.exceptions import HPACKError, OversizedHeaderListError

from rusd.door.h2.errors import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, H2ConnectionError
from rusd.door.h2.hpack_decoder import Decoder, Field

T = TypeVar("T")

#: Blocks remembered per connection, and the longest that is.
REMEMBERED = 64
REMEMBERED_BYTES = 512
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
    """Headers that are no request: an error of their stream (RFC 9113, 8.1.1)."""


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
    """Encode a header block that any decoder reads, whatever it read before."""
    encoder = Encoder()
    return bytes(encoder.encode([NeverIndexedHeaderTuple(*one) for one in fields], huffman=False))


class HeaderReader(Generic[T]):
    """One connection's header blocks, in the order they come."""

    def __init__(self, max_list_size: int, interpret: Callable[[Request], T]) -> None:
        """`max_list_size`: bytes of one decoded list, 32 per field included (RFC 9113, 6.5.2).
        `interpret` makes of a request what the user of the connection wants; it must depend on
        nothing but the request, since its answers are remembered."""
        self._decoder = Decoder(max_list_size)
        self._interpret = interpret
        self._known: dict[bytes, T] = {}
        #: Bytes of memory of the request read last, 0 if it was remembered; of all that are.
        self.weight = 0
        self.remembered = 0

    def request(self, encoded: bytes) -> T:
        """What a request's block means. Malformed, or H2ConnectionError if it cannot be decoded."""
        known = self._known.get(encoded)
        if known is not None:
            self.weight = 0
            return known
        before = self._decoder.changes
        fields = self._decode(encoded)
        self.weight = self._decoder.list_size + FIELD_MEMORY * len(fields)
        meaning = self._interpret(_request(fields))
        if self._decoder.changes == before and len(encoded) <= REMEMBERED_BYTES:
            if len(self._known) >= REMEMBERED:
                self._forget()
            self._known[encoded] = meaning
            self.remembered += self.weight
            self.weight = 0
        return meaning

    def _forget(self) -> None:
        self._known.clear()
        self.remembered = 0

    def trailers(self, encoded: bytes) -> None:
        """Read a block of trailers, for the table's sake. Malformed if they hold pseudo-headers."""
        for name, value in self._decode(encoded):
            _check_field(name, value)

    def _decode(self, encoded: bytes) -> list[Field]:
        """The only way to the decoder: what is remembered is forgotten here, before anything can
        go wrong with the fields."""
        before = self._decoder.changes
        try:
            return self._decoder.decode(encoded)
        except OversizedHeaderListError as error:
            raise H2ConnectionError(ENHANCE_YOUR_CALM, "header list too large") from error
        except (HPACKError, IndexError, ValueError) as error:
            raise H2ConnectionError(COMPRESSION_ERROR, "header block cannot be decoded") from error
        finally:
            if self._decoder.changes != before:
                self._forget()


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
