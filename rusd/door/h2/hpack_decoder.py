"""HPACK decoding (RFC 7541), in linear time. Tables, integers and Huffman code: the hpack library.

The library's own decoder copies the rest of a block for every literal and accepts any number of
table size updates, so that a block takes time quadratic in its length. This decoder reads at a
position: a block of n bytes costs O(n), plus 32 bytes of `max_list_size` for every field.

A block of several frames is decoded frame by frame, so that no frame holds the loop for long: its
complete fields, and a Huffman code (0.15 us a byte) as far as it has come.
"""

from hpack.exceptions import HPACKDecodingError, InvalidTableSizeError, OversizedHeaderListError
from hpack.hpack import decode_integer
from hpack.huffman_table import (
    HUFFMAN_COMPLETE,
    HUFFMAN_EMIT_SYMBOL,
    HUFFMAN_FAIL,
    HUFFMAN_TABLE,
    decode_huffman,
)
from hpack.table import HeaderTable

Field = tuple[bytes, bytes]

#: The largest dynamic table a peer may ask for (SETTINGS_HEADER_TABLE_SIZE is not announced).
TABLE_BYTES = HeaderTable.DEFAULT_SIZE
#: Table size updates that one block may begin with (RFC 7541, 4.2).
SIZE_UPDATES = 2
#: What a field costs besides its name and value (RFC 7541, 4.1).
FIELD_BYTES = 32
#: Bytes of the longest integer the library reads.
_INTEGER_BYTES = 8


class Decoder:
    """The decoder of one connection."""

    def __init__(self, max_list_size: int) -> None:
        """`max_list_size`: bytes of one decoded list, `FIELD_BYTES` per field included."""
        self._max_list_size = max_list_size
        self._table = HeaderTable()
        #: Changes of the dynamic table so far: entries added, sizes set.
        self.changes = 0
        #: Of the list decoded last, counted as `max_list_size` is.
        self.list_size = 0
        # The block under way:
        self._fields: list[Field] = []
        self._updates = 0
        #: whether a part of it was fed, the bytes of its incomplete field, the size at which that
        #: may be complete, and its Huffman codes, by their positions.
        self._fed = False
        self._rest = bytearray()
        self._needed = 0
        self._codes: dict[int, _HuffmanCode] = {}

    def feed(self, piece: bytes) -> None:
        """Decode the complete fields of a block that does not end with `piece`. Raises as
        `decode`.
        """
        if not self._fed:
            self._fed, self.list_size = True, 0
        rest = self._rest
        rest += piece
        if len(rest) >= self._needed:
            try:
                self._read(bytes(rest))
                rest.clear()
                self._next()
            except _Incomplete as field:
                if field.start:
                    del rest[: field.start]
                    self._next()
                self._needed = field.end - field.start
                if field.code is not None:
                    start = field.code - field.start
                    self._codes.setdefault(start, _HuffmanCode(start, self._needed))
        for code in self._codes.values():
            code.add(rest)

    @property
    def part(self) -> tuple[int, int]:
        """Of the block under way: its fields, and the bytes of fields and incomplete field."""
        return len(self._fields), self.list_size + len(self._rest)

    def decode(self, encoded: bytes) -> list[Field]:
        """Return the fields of a block, of which `encoded` is what was not fed. Raises HPACKError;
        the decoder cannot be used afterwards.
        """
        if not self._fed:
            self.list_size = 0
        elif self._rest:
            encoded = bytes(self._rest) + encoded
        try:
            self._read(encoded)
        except _Incomplete:
            raise HPACKDecodingError("block cut off") from None
        if self._fed:
            self._fed = False
            self._rest.clear()
            self._next()
        fields, self._fields, self._updates = self._fields, [], 0
        return fields

    def _next(self) -> None:
        """The incomplete field has ended."""
        self._needed = 0
        self._codes.clear()

    def _read(self, encoded: bytes) -> None:
        """Decode the fields in `encoded`. Raises _Incomplete for the last, if it is cut off."""
        fields, position, end = self._fields, 0, len(encoded)
        room = self._max_list_size - self.list_size
        get = self._table.get_by_index
        start = 0
        try:
            while position < end:
                start = position
                first = encoded[position]
                if first & 0x80:
                    if first < 0xFF:
                        index, position = first & 0x7F, position + 1
                    else:
                        index, position = _integer(encoded, position, 7)
                    name, value = get(index)
                elif first & 0x40:
                    name, value, position = self._literal(encoded, position, 6)
                    self.changes += 1
                    self._table.add(name, value)
                elif first & 0x20:
                    position = self._resize(encoded, position)
                    continue
                else:
                    name, value, position = self._literal(encoded, position, 4)
                room -= len(name) + len(value) + FIELD_BYTES
                if room < 0:
                    raise OversizedHeaderListError("header list too large")
                fields.append((name, value))
        except _Incomplete as field:
            field.start = start
            raise
        finally:
            self.list_size = self._max_list_size - room

    def _resize(self, encoded: bytes, position: int) -> int:
        """Apply a size update, which only other updates may precede."""
        size, position = _integer(encoded, position, 5)
        self._updates += 1
        if self._fields:
            raise HPACKDecodingError("table size update within a block")
        if size > TABLE_BYTES or self._updates > SIZE_UPDATES:
            raise InvalidTableSizeError("table size out of range")
        self.changes += 1
        self._table.maxsize = size
        return position

    def _literal(self, encoded: bytes, position: int, bits: int) -> tuple[bytes, bytes, int]:
        """Return name, value, and the position of the next field. The name's index has `bits`
        bits.
        """
        index, position = _integer(encoded, position, bits)
        if index:
            name = self._table.get_by_index(index)[0]
        else:
            name, position = self._string(encoded, position)
        value, position = self._string(encoded, position)
        return name, value, position

    def _string(self, encoded: bytes, position: int) -> tuple[bytes, int]:
        if position >= len(encoded):
            raise _Incomplete(position + 1)
        huffman = encoded[position] & 0x80
        length, position = _integer(encoded, position, 7)
        end = position + length
        if end > len(encoded):
            if length > self._max_list_size:
                raise OversizedHeaderListError("header list too large")
            raise _Incomplete(end, position if huffman else None)
        if huffman and position in self._codes:
            return self._codes[position].text(encoded), end
        text = encoded[position:end]
        return (decode_huffman(text) if huffman else text), end


class _Incomplete(Exception):
    """The field that begins at `start` is cut off: it ends at `end` or behind it."""

    def __init__(self, end: int, code: int | None = None) -> None:
        """`code`: where the Huffman code begins that is cut off."""
        self.start = 0
        self.end = end
        self.code = code


class _HuffmanCode:
    """A Huffman code that arrives in pieces."""

    def __init__(self, start: int, end: int) -> None:
        """`start`, `end`: its place in the field."""
        self._position, self._end = start, end
        self._state, self._flags = 0, HUFFMAN_COMPLETE
        self._text = bytearray()

    def add(self, field: bytes | bytearray) -> None:
        """Decode what has come of the code; `field` begins with its field."""
        state, flags, text = self._state, self._flags, self._text
        piece = field[self._position : self._end]
        for byte in piece:
            for nibble in (byte >> 4, byte & 15):
                state, flags, symbol = HUFFMAN_TABLE[state * 16 + nibble]
                if flags & HUFFMAN_FAIL:
                    raise HPACKDecodingError("invalid Huffman code")
                if flags & HUFFMAN_EMIT_SYMBOL:
                    text.append(symbol)
        self._position += len(piece)
        self._state, self._flags = state, flags

    def text(self, field: bytes) -> bytes:
        """Return the text of the code, which has come whole."""
        self.add(field)
        if not self._flags & HUFFMAN_COMPLETE:
            raise HPACKDecodingError("incomplete Huffman code")
        return bytes(self._text)


def _integer(encoded: bytes, position: int, bits: int) -> tuple[int, int]:
    piece = encoded[position : position + _INTEGER_BYTES]
    try:
        number, consumed = decode_integer(piece, bits)
    except HPACKDecodingError:
        if len(piece) < _INTEGER_BYTES:
            raise _Incomplete(len(encoded) + 1) from None
        raise
    return number, position + consumed
