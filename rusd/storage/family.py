"""The families (RocksDB column families) of a member's state."""

from enum import Enum


class Family(Enum):
    """One ordered map of bytes to bytes; the value is its name on disk."""

    #: Revision -> encoded KeyValue (etcd's bucket of the same name): history.
    KEY = "key"
    #: User key -> its live version.
    CURRENT = "current"
    #: User key and revision -> put or tombstone.
    INDEX = "index"
    #: Positions, compaction marks and the like.
    META = "meta"
    LEASE = "lease"
    #: Lease id and user key -> nothing: what is attached to a lease.
    LEASE_KEY = "lease_key"
    ALARM = "alarm"
    MEMBER = "member"

    # Members are looked up in dictionaries for every record; Enum's own hash is Python code.
    __hash__ = object.__hash__
