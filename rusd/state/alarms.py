"""Active alarms: (member id, kind). They are stored, and restrict what may be applied.

NOSPACE refuses requests that grow the store, CORRUPT every write but lease checkpoints, alarms and
changes of the membership.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from rusd.proto import rpc_pb2 as rpc
from rusd.state.errors import Corrupt, NoSpace
from rusd.storage import Batch, Engine, Family

_RECORD = struct.Struct(">Qi")


class Alarm(NamedTuple):
    """One alarm of one member; `kind` is an etcd AlarmType number."""

    member_id: int
    kind: int

    def encode(self) -> bytes:
        """Returns an encoded etcd AlarmMember message."""
        message = rpc.AlarmMember(memberID=self.member_id)
        message.alarm = self.kind  # type: ignore[assignment]
        return message.SerializeToString()


class Alarms:
    """All active alarms, in memory and in the family ALARM."""

    def __init__(self) -> None:
        self._active: set[Alarm] = set()
        self.no_space = False
        self.corrupt = False

    def load(self, engine: Engine) -> None:
        """Read the stored alarms, in place of those in memory."""
        keys = engine.scan_keys(Family.ALARM, b"", None)
        self._active = {Alarm(*_RECORD.unpack(key)) for key in keys}
        self._summarise()

    def __iter__(self) -> Iterator[Alarm]:
        return iter(sorted(self._active))

    def get(self, kind: int) -> list[Alarm]:
        """Returns the alarms of one kind, or all for NONE (0)."""
        return [alarm for alarm in self if kind in (rpc.NONE, alarm.kind)]

    def activate(self, batch: Batch, alarm: Alarm) -> list[Alarm]:
        """Activate an alarm; returns it in a list, also if it was active before."""
        if alarm.kind == rpc.NONE:
            return []
        if alarm not in self._active:
            self._active.add(alarm)
            batch.put(Family.ALARM, _RECORD.pack(*alarm), b"")
            self._summarise()
        return [alarm]

    def deactivate(self, batch: Batch, alarm: Alarm) -> list[Alarm]:
        """Deactivate an alarm; returns it in a list if it was active."""
        if alarm not in self._active:
            return []
        self._active.remove(alarm)
        batch.delete(Family.ALARM, _RECORD.pack(*alarm))
        self._summarise()
        return [alarm]

    def refuse_if_corrupt(self, request: object) -> None:
        """Raises Corrupt while a CORRUPT alarm is active, whatever the request."""
        if self.corrupt:
            raise Corrupt

    def refuse_growth(self, request: object) -> None:
        """Raises Corrupt or NoSpace while such an alarm is active, whatever the request."""
        if self.corrupt:
            raise Corrupt
        if self.no_space:
            raise NoSpace

    def _summarise(self) -> None:
        # Every request reads these flags.
        kinds = {alarm.kind for alarm in self._active}
        self.no_space = rpc.NOSPACE in kinds
        self.corrupt = rpc.CORRUPT in kinds
