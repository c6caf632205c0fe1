"""HPACK decoding (RFC 7541), in linear time. Tables, integers and Huffman code: the hpack library.

The library's own decoder copies the rest of a block for every literal and accepts any number of
table size updates, so that a block takes time quadratic in its length. This decoder reads at a
position: a block of n bytes costs O(n), plus 32 bytes of `max_list_size` for every field.
"""

from hpack.exceptions import HPACKDecodingError, InvalidTableSizeError, OversizedHeaderListError
from hpack.hpack import decode_integer
from hpack.huffman_table import decode_huffman
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

    def decode(self, encoded: bytes) -> list[Field]:
        """Return the fields of one block. Raises HPACKError; the decoder cannot be used
        afterwards.
        """
        fields: list[Field] = []
        position, end = self._sizes(encoded), len(encoded)
        room = self._max_list_size
        get = self._table.get_by_index
        while position < end:
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
                raise HPACKDecodingError("table size update within a block")
            else:
                name, value, position = self._literal(encoded, position, 4)
            room -= len(name) + len(value) + FIELD_BYTES
            if room < 0:
                raise OversizedHeaderListError("header list too large")
            fields.append((name, value))
        self.list_size = self._max_list_size - room
        return fields

    def _sizes(self, encoded: bytes) -> int:
        """Apply the size updates at the start of a block; return the position of its first
        field.
        """
        position, updates = 0, 0
        while position < len(encoded) and encoded[position] & 0xE0 == 0x20:
            size, position = _integer(encoded, position, 5)
            updates += 1
            if size > TABLE_BYTES or updates > SIZE_UPDATES:
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
            name, position = _string(encoded, position)
        value, position = _string(encoded, position)
        return name, value, position


def _integer(encoded: bytes, position: int, bits: int) -> tuple[int, int]:
    number, consumed = decode_integer(encoded[position : position + _INTEGER_BYTES], bits)
    return number, position + consumed


def _string(encoded: bytes, position: int) -> tuple[bytes, int]:
    if position >= len(encoded):
        raise HPACKDecodingError("block cut off")
    huffman = encoded[position] & 0x80
    length, position = _integer(encoded, position, 7)
    end = position + length
    if end > len(encoded):
        raise HPACKDecodingError("block cut off")
    text = encoded[position:end]
    return (decode_huffman(text) if huffman else text), end
