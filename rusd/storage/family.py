"""The families (RocksDB column families) of a member's state."""

from enum import Enum


class Family(Enum):
    """A RocksDB column family; the value is its name on disk."""

    #: Revision -> encoded KeyValue (etcd's bucket of the same name): history.
    KEY = "key"
    #: User key -> framed KeyValue of its live version.
    CURRENT = "current"
    #: User key and revision -> put or tombstone.
    INDEX = "index"
    #: Log positions, compaction marks, size totals.
    META = "meta"
    LEASE = "lease"
    #: Lease id and user key -> empty: keys attached to a lease.
    LEASE_KEY = "lease_key"
    ALARM = "alarm"
    MEMBER = "member"

    # Families are looked up in dictionaries for every record; Enum's own hash is Python code.
    __hash__ = object.__hash__
