"""etcd's range_end conventions."""

#: `range_end` for all keys from `key` on.
FROM_KEY = b"\0"


def bounds(key: bytes, range_end: bytes) -> tuple[bytes, bytes | None]:
    """Returns the interval [start, end) of user keys for `key` and `range_end` (etcd's
    RangeRequest); end None is unbounded.

    Empty `range_end`: the single key. A single zero byte: all keys from `key` on. An end at or
    before the key: an empty interval.
    """
    if not range_end:
        return key, key + b"\0"
    if range_end == FROM_KEY:
        return key, None
    return key, range_end
