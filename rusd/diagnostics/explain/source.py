"""Reads history by etcd's public API: ranges at a revision, and watches that begin in the past.

A watch has no end. All that it has to tell is read when the newest revision of its key has come;
for a key that does not exist, when the member says that no watcher is behind
(`etcd_debugging_mvcc_slow_watcher_total`) and nothing more comes for a moment, or, if it does not
say so, when nothing comes for longer.
"""

from __future__ import annotations

import queue
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Final, NamedTuple

from rusd.ctl.gateway import LONGEST, Access, CallError, Gateway, Json

from ..asking import Endpoint, tried
from .history import Event

#: Seconds without an event: with the member's word that no watcher is behind, and without.
_SETTLED: Final = 0.3
_QUIET: Final = 2.0
#: The same, where watchers are behind: it may be this one.
_BEHIND: Final = 10.0
#: Seconds without an event that is known to come.
_STALLED: Final = 60.0
#: Messages of a watch that wait to be read, each at most the largest request and a bit.
_AHEAD: Final = 4

#: Keys that a member is asked to look through.
_SEARCHED: Final = 100_000

EVERYTHING: Final = (b"\0", b"\0")


class Compacted(Exception):
    """Revisions up to `revision` are compacted."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"compacted up to revision {revision}")
        self.revision = revision


class State(NamedTuple):
    """A key at a revision, None if it did not exist then, and the newest revision of all."""

    event: Event | None
    revision: int


class Source:
    """Reads from one endpoint, so that all answers are of one member."""

    def __init__(self, endpoints: list[str], access: Access) -> None:
        """Choose the first endpoint that answers. Raises CallError."""
        #: The end of a watch was taken from silence alone.
        self.guessed = False
        #: The newest revision that came.
        self.seen = 0
        errors = []
        for endpoint in endpoints:
            self._gateway = Gateway([endpoint], access, LONGEST)
            self._endpoint = Endpoint(endpoint, access)
            status, error = tried(self._endpoint.status)
            # (A refusal for want of a user is of all; calls that follow tell it.)
            if status is not None or "user name" in error:
                return
            errors.append(f"{endpoint}: {error}")
        raise CallError("; ".join(errors) or "no endpoints")

    def state(self, key: bytes, revision: int = 0) -> State:
        """Read a key, linearizably if at the newest revision. Raises CallError."""
        request = {"key": _base64(key), "revision": str(revision)}
        found = self._gateway.call("kv/range", request)
        pairs = found.get("kvs", ())
        event = _event({"kv": pairs[0]}) if pairs else None
        return State(event, int(found["header"]["revision"]))

    def revision(self) -> int:
        """Return the newest revision."""
        return self.state(b"\0").revision

    def compacted(self) -> int | None:
        """Return the compacted revision (0: none), None if the member does not tell it."""
        metrics, _ = tried(self._endpoint.metrics)
        name = "etcd_debugging_mvcc_compact_revision"
        found = metrics.total(name) if metrics is not None else None
        return None if found is None else max(int(found), 0)

    def beginning_with(self, key: bytes, limit: int) -> tuple[int, list[bytes]]:
        """Return the number of keys that begin with `key`, and the first ones."""
        stem = key.rstrip(b"\xff")
        end = stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"
        request: Json = {"key": _base64(key or b"\0"), "range_end": _base64(end)}
        found = self._gateway.call("kv/range", request | {"limit": str(limit), "keys_only": True})
        keys = [b64decode(each["key"]) for each in found.get("kvs", ())]
        return int(found.get("count", 0)), keys

    def written_at(self, revision: int, limit: int) -> list[bytes] | None:
        """Return keys whose current value is of a revision, None if looking is too much work: the
        member reads all keys.
        """
        whole = {"key": _base64(EVERYTHING[0]), "range_end": _base64(EVERYTHING[1])}
        counted = self._gateway.call("kv/range", whole | {"count_only": True})
        if int(counted.get("count", 0)) > _SEARCHED:
            return None
        bounds = {"min_mod_revision": str(revision), "max_mod_revision": str(revision)}
        found = self._gateway.call("kv/range", {**whole, **bounds, "keys_only": True})
        return [b64decode(each["key"]) for each in found.get("kvs", ())][:limit]

    def time_to_live(self, lease: int) -> int | None:
        """Return the seconds that a lease has left, None if it cannot be told; -1: it is gone."""
        found, error = tried(lambda: self._gateway.call("lease/timetolive", {"ID": str(lease)}))
        if found is None:
            return -1 if "lease not found" in error else None
        return int(found.get("TTL", 0))

    def leases_gone(self, leases: set[int]) -> set[int]:
        """Return the leases that do not exist any more, of those that could be asked for."""
        return {each for each in leases if (self.time_to_live(each) or 0) < 0}

    def events(
        self, key: bytes, end: bytes, first: int, last: int, until: int = 0
    ) -> Iterator[Event]:
        """Yield the events of revisions `first` to `last`, oldest first.

        until: a revision that certainly has an event, after which nothing is waited for.
        Raises Compacted, CallError.
        """
        create = {
            "key": _base64(key),
            "range_end": _base64(end),
            "start_revision": str(first),
            "fragment": True,
        }
        messages = self._gateway.stream("watch", {"create_request": create})
        arrived: queue.Queue[Json | CallError | None] = queue.Queue(_AHEAD)
        stopped = threading.Event()

        def put(item: Json | CallError | None) -> bool:
            while not stopped.is_set():
                try:
                    arrived.put(item, timeout=0.1)
                except queue.Full:
                    continue
                return True
            return False

        def read() -> None:
            try:
                for message in messages:
                    if not put(message):
                        return
                put(None)
            except CallError as error:
                put(error)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            yield from self._until_end(arrived, last, until)
        finally:
            stopped.set()
            messages.close()
            reader.join(1)

    def _until_end(
        self, arrived: queue.Queue[Json | CallError | None], last: int, until: int
    ) -> Iterator[Event]:
        created = settled = False
        since = time.monotonic()
        while True:
            try:
                message = arrived.get(timeout=_SETTLED)
            except queue.Empty:
                quiet = time.monotonic() - since
                if quiet > _STALLED:
                    raise CallError(f"nothing came for {_STALLED:g} s") from None
                if until or not created:
                    continue
                if settled:
                    # (What was on its way when the member said so has come now.)
                    return
                said = self._settled()
                settled = said is True
                if not settled and quiet > (_QUIET if said is None else _BEHIND):
                    self.guessed = True
                    return
                continue
            if isinstance(message, CallError):
                raise message
            if message is None:
                raise CallError("the watch ended")
            since, settled = time.monotonic(), False
            created = created or bool(message.get("created"))
            if message.get("canceled"):
                if compacted := int(message.get("compact_revision", 0)):
                    raise Compacted(compacted)
                raise CallError(str(message.get("cancel_reason") or "the watch was canceled"))
            newest = 0
            for each in message.get("events", ()):
                event = _event(each)
                newest = self.seen = event.revision
                if newest > last:
                    return
                yield event
            # (The events of one revision come in one message, or in fragments of it.)
            if until and newest >= until and not message.get("fragment"):
                return

    def _settled(self) -> bool | None:
        """Return whether no watcher is behind, None if the member does not say."""
        metrics, _ = tried(self._endpoint.metrics)
        if metrics is None:
            return None
        slow = metrics.total("etcd_debugging_mvcc_slow_watcher_total")
        return None if slow is None else slow == 0


def _event(told: Json) -> Event:
    pair = told["kv"]
    return Event(
        key=b64decode(pair.get("key", "")),
        revision=int(pair["mod_revision"]),
        value=None if told.get("type") == "DELETE" else b64decode(pair.get("value", "")),
        create_revision=int(pair.get("create_revision", 0)),
        version=int(pair.get("version", 0)),
        lease=int(pair.get("lease", 0)),
    )


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
