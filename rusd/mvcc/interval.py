"""etcd's range_end conventions, in one place."""

#: `range_end` of "all keys from `key` on".
FROM_KEY = b"\0"


def bounds(key: bytes, range_end: bytes) -> tuple[bytes, bytes | None]:
    """The interval [start, end) of user keys meant by `key` and `range_end`; end None is open.

    Empty `range_end`: the one key. A single zero byte: everything from `key` on. An end at or
    before the key gives an empty interval.
    """
    if not range_end:
        return key, key + b"\0"
    if range_end == FROM_KEY:
        return key, None
    return key, range_end
