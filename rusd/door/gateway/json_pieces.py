"""Long messages as JSON, in pieces that are read from their encoding.

An encoded message is a row of fields, and any part of that row is a message of the same type. So
some fields at a time are decoded and written; a long message among them is entered, and a long
value of bytes is written in parts. Neither the message nor its text exists as a whole, and no piece
holds the event loop, however long the message is.

Counts on fields in the order of their numbers, in which protobuf and `rusd/wire` encode them.
"""

from binascii import b2a_base64
from collections.abc import Iterator

from rusd.base.chunks import Chunks, Encoded, size_of
from rusd.door.gateway.json_writer import Field, MessageWriter

#: Bytes of one piece, about, and fields in it at most.
PIECE = 64 << 10
ELEMENTS = 250
#: Bytes that fill a piece as base64; divisible by three.
_VALUE = PIECE // 4 * 3

_VARINT, _LENGTH = 0, 2


def pieces(writer: MessageWriter, encoded: Encoded) -> Iterator[bytes]:
    """Return the JSON of `writer.text` in pieces."""
    source = _Source(encoded)
    message = _Open(writer, size_of(encoded))
    #: The messages around `message`, the outermost first.
    around: list[_Open] = []
    text = ["{"]
    while True:
        if source.position >= message.end:
            text.append(message.closed())
            if not around:
                break
            message = around.pop()
            continue
        short = source.short_fields(message.end)
        if not short:
            number, head, size = source.field()
            field = message.writer.numbers.get(number)
            if field is None or not field.divided or size <= PIECE:
                short = source.take(head + size)
            else:
                source.take(head)
                text.append(message.begun(number, field))
                if field.messages is not None:
                    text.append("{")
                    around.append(message)
                    message = _Open(field.messages, source.position + size)
                    continue
                text.append('"')
                while size > 0:
                    yield "".join(text).encode()
                    text = [b2a_base64(source.take(min(size, _VALUE)), newline=False).decode()]
                    size -= _VALUE
                text.append('"')
        if short:
            text += message.written(short)
        yield "".join(text).encode()
        text.clear()
    yield "".join(text).encode()


class _Open:
    """A message whose JSON has begun."""

    def __init__(self, writer: MessageWriter, end: int) -> None:
        """`end`: its end in the encoding."""
        self.writer = writer
        self.end = end
        self._comma = ""
        #: Number of the repeated field whose list is open.
        self._list = 0

    def begun(self, number: int, field: Field) -> str:
        """Return what stands before the next value of `field`."""
        if self._list == number:
            return ","
        before = ("]" if self._list else "") + self._comma + field.name
        self._list, self._comma = 0, ","
        if field.repeated:
            self._list = number
            before += "["
        return before

    def written(self, encoded: bytes) -> Iterator[str]:
        """Return the JSON of the next fields."""
        writer = self.writer
        for descriptor, value in writer.decode(encoded).ListFields():
            number = descriptor.number
            field = writer.numbers[number]
            yield self.begun(number, field)
            yield ",".join(map(field.write, value)) if field.repeated else field.write(value)

    def closed(self) -> str:
        """Return what ends the message."""
        return "]}" if self._list else "}"


class _Source:
    """An encoded message, read from its begin."""

    def __init__(self, encoded: Encoded) -> None:
        #: The next one at the end.
        self._chunks = encoded[::-1] if isinstance(encoded, Chunks) else [encoded]
        self._buffer = b""
        self._at = 0
        #: Bytes before those of the buffer.
        self._passed = 0

    @property
    def position(self) -> int:
        """How many bytes have been read."""
        return self._passed + self._at

    def short_fields(self, end: int) -> bytes:
        """Read whole fields before `end`, as many as fill a piece.

        Returns none before a long field and before one that reaches into the next chunk.
        """
        buffer, start = self._buffer, self._at
        stop = min(len(buffer), end - self._passed, start + PIECE)
        at, left = start, ELEMENTS
        try:
            while at < stop and left:
                # (Most fields are messages of less than 16 KiB.)
                size = buffer[at + 1]
                if buffer[at] & 0x87 != _LENGTH:
                    behind = sum(_field(buffer, at)[1:], at)
                elif size < 0x80:
                    behind = at + 2 + size
                elif (further := buffer[at + 2]) < 0x80:
                    behind = at + 3 + (size & 0x7F) + (further << 7)
                else:
                    behind = sum(_field(buffer, at)[1:], at)
                if behind > stop:
                    break
                at = behind
                left -= 1
        except IndexError:
            pass  # the chunk ends within a field
        self._at = at
        return buffer[start:at]

    def field(self) -> tuple[int, int, int]:
        """Return the next field's number, the bytes before its content and those of it."""
        while True:
            try:
                return _field(self._buffer, self._at)
            except IndexError:
                self._read_chunk()

    def take(self, size: int) -> bytes:
        """Read the next `size` bytes."""
        while len(self._buffer) - self._at < size:
            self._read_chunk()
        self._at += size
        return self._buffer[self._at - size : self._at]

    def _read_chunk(self) -> None:
        """Put the next chunk behind what has not been read. Raises IndexError if there is none."""
        chunk = self._chunks.pop()
        self._buffer = self._buffer[self._at :] + chunk
        self._passed += self._at
        self._at = 0


def _field(encoded: bytes, at: int) -> tuple[int, int, int]:
    """See `_Source.field`. Raises IndexError if the field's content does not begin in `encoded`."""
    tag, begin = _varint(encoded, at)
    size, behind = _varint(encoded, begin)
    kind = tag & 7
    if kind == _LENGTH:
        return tag >> 3, behind - at, size
    if kind == _VARINT:
        return tag >> 3, begin - at, behind - begin
    raise ValueError(f"etcd has no fields of kind {kind}")


def _varint(encoded: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while (byte := encoded[at]) >= 0x80:
        number |= (byte & 0x7F) << shift
        shift += 7
        at += 1
    return number | byte << shift, at + 1
