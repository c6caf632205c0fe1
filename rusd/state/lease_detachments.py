"""Keys that one range deletion detaches from their leases."""

from collections.abc import Generator, Sequence

from rusd.proto import kv_pb2
from rusd.state.leases import Leases
from rusd.storage import Batch

#: Keys of one lease that are detached one by one; more are detached as an interval.
_SINGLE_KEYS = 16
#: Leases handled in one slice.
_SLICE = 250
_parse = kv_pb2.KeyValue.FromString


class LeaseDetachments:
    """Collects the keys. The range deletion deletes every key between the first and the last."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        #: Lease -> its keys, up to one more than _SINGLE_KEYS.
        self._keys: dict[int, list[bytes]] = {}
        self._first = self._last = b""

    def add(self, keys: Sequence[bytes], kvs: Sequence[bytes]) -> None:
        """Add the next keys, in order, with their KeyValues."""
        if not len(self._leases):
            return
        self._first, self._last = self._first or keys[0], keys[-1]
        for key, kv in zip(keys, kvs, strict=True):
            lease = _parse(kv).lease
            if lease:
                self._leases.discard(lease, key)
                of_lease = self._keys.setdefault(lease, [])
                if len(of_lease) <= _SINGLE_KEYS:
                    of_lease.append(key)

    def end(self, batch: Batch) -> Generator[None, None, None]:
        """Write the detachments, in slices."""
        for number, (lease, keys) in enumerate(self._keys.items(), 1):
            if len(keys) > _SINGLE_KEYS:
                self._leases.detach_interval(batch, lease, self._first, self._last + b"\0")
            else:
                for key in keys:
                    self._leases.detach(batch, lease, key)
            if number % _SLICE == 0:
                yield
