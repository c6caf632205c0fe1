"""Keys that lose their leases in one range deletion."""

from collections.abc import Generator, Sequence

from rusd.proto import kv_pb2
from rusd.state.leases import Leases
from rusd.storage import Batch

#: Keys of one lease that are detached one by one; more go as an interval.
_FEW = 16
#: Leases handled in one slice.
_SLICE = 250
_parse = kv_pb2.KeyValue.FromString


class LeaseDetachments:
    """Collects them; every key between the first and the last handed in is deleted."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        #: Lease -> its keys; none where they are too many.
        self._keys: dict[int, list[bytes]] = {}
        self._first = self._last = b""

    def add(self, keys: Sequence[bytes], kvs: Sequence[bytes]) -> None:
        """The next keys, with their KeyValues."""
        if not len(self._leases):
            return
        self._first, self._last = self._first or keys[0], keys[-1]
        for key, kv in zip(keys, kvs, strict=True):
            lease = _parse(kv).lease
            if lease:
                self._leases.discard(lease, key)
                of_lease = self._keys.setdefault(lease, [])
                if len(of_lease) <= _FEW:
                    of_lease.append(key)

    def end(self, batch: Batch) -> Generator[None, None, None]:
        """Write what is detached."""
        for number, (lease, keys) in enumerate(self._keys.items(), 1):
            if len(keys) > _FEW:
                self._leases.detach_interval(batch, lease, self._first, self._last + b"\0")
            else:
                for key in keys:
                    self._leases.detach(batch, lease, key)
            if number % _SLICE == 0:
                yield
