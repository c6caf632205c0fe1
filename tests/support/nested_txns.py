"""Encoded txns within txns."""


def field(number: int, content: bytes) -> bytes:
    """Return a field of bytes."""
    size, encoded = len(content), bytearray([number << 3 | 2])
    while size > 0x7F:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(encoded) + bytes([size]) + content


def nested(deep: int, inside: bytes = b"") -> bytes:
    """Return a TxnRequest with so many levels around the TxnRequest `inside`."""
    for _ in range(deep):
        inside = field(2, field(4, inside))
    return inside
