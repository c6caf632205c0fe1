"""One client's watch stream: create, cancel and progress requests, and its progress timer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rusd.proto import rpc_pb2 as rpc
from rusd.rpc import errors
from rusd.watch.groups import Subscription
from rusd.watch.ports import Timer
from rusd.watch.watcher import StreamState, Watcher, WatcherState
from rusd.wire import watch_response

if TYPE_CHECKING:
    from rusd.watch.hub import WatchHub

#: etcd's cancel_reason texts of refused watchers (reasons inside a response, not gRPC statuses).
EMPTY_RANGE = "mvcc: watcher range is empty"
DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"

#: Answers to a client's requests that may wait in a full outlet. A client that goes on asking
#: without reading what it is told is cut off with "too many requests".
MAX_UNREAD_ANSWERS = 16_384

_AUTOMATIC = 0


class WatchStream:
    """The watchers of one stream. Answers and events go to the stream's outlet, in order."""

    __slots__ = ("__weakref__", "_hub", "_next_id", "_progress_owed", "_timer", "_unread", "state")

    def __init__(self, hub: WatchHub, state: StreamState) -> None:
        self.state = state
        self._hub = hub
        self._next_id = 0
        self._timer: Timer | None = None
        self._unread = 0
        self._progress_owed = False

    def create(self, request: rpc.WatchCreateRequest) -> None:
        """Add a watcher and say so; or say why not, and the stream goes on."""
        subscription = Subscription(
            request.key or b"\0",
            None if request.range_end == b"\0" else request.range_end,
            prev_kv=request.prev_kv,
            no_put=rpc.WatchCreateRequest.NOPUT in request.filters,
            no_delete=rpc.WatchCreateRequest.NODELETE in request.filters,
        )
        reason = self._refusal(request, subscription)
        if reason is not None:
            self.refuse(reason)
            return
        watch_id = self._pick_id() if request.watch_id == _AUTOMATIC else request.watch_id
        self._answer(watch_response.created(self._header(), watch_id))
        self._hub.add_watcher(
            self.state,
            watch_id,
            subscription,
            request.start_revision,
            fragment=request.fragment,
            notify=request.progress_notify,
        )
        if request.progress_notify and self._timer is None:
            self._start_timer()

    def refuse(self, reason: str) -> None:
        """Answer a create request with a watcher that is canceled from birth."""
        self._answer(watch_response.refused(self._header(), reason))

    def cancel(self, watch_id: int) -> None:
        """End one watcher; an unknown one is ignored, as etcd does."""
        watcher = self.state.watchers.get(watch_id)
        if watcher is not None:
            self._hub.drop(watcher)
            self._answer(watch_response.canceled(self._header(), watch_id))

    def progress(self) -> None:
        """Tell up to which revision every watcher of the stream knows everything.

        Nothing is said while one of them is behind or starts in the future, or there is none: the
        client asks again.
        """
        if not self.state.watchers or not all(map(self._is_current, self.state.watchers.values())):
            return
        if self.state.outlet.ready():
            self.state.outlet.send(
                watch_response.progress(self._header(), watch_response.NO_WATCHER)
            )
        else:
            # However often it asked: one answer waits for the outlet.
            self._progress_owed = True

    def drained(self) -> None:
        """The outlet takes messages again."""
        self._unread = 0
        self._hub.drained(self.state)
        if self._progress_owed:
            self._progress_owed = False
            self.progress()

    def close(self) -> None:
        """The stream is over: its watchers end without a word. Idempotent."""
        for watcher in list(self.state.watchers.values()):
            self._hub.drop(watcher)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._hub.forget(self)

    def _header(self) -> bytes:
        return self._hub.header(self._hub.revision)

    def _refusal(self, request: rpc.WatchCreateRequest, subscription: Subscription) -> str | None:
        if request.start_revision < 0:
            return errors.COMPACTED.message
        if subscription.end and subscription.end <= subscription.key:
            return EMPTY_RANGE
        if request.watch_id != _AUTOMATIC and request.watch_id in self.state.watchers:
            return DUPLICATE_ID
        return None

    def _pick_id(self) -> int:
        while self._next_id in self.state.watchers:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def _answer(self, message: bytes) -> None:
        outlet = self.state.outlet
        if not outlet.ready():
            self._unread += 1
            if self._unread > MAX_UNREAD_ANSWERS:
                outlet.finish(errors.TOO_MANY_REQUESTS)
                return
        outlet.send(message)

    def _is_current(self, watcher: Watcher) -> bool:
        return watcher.state is WatcherState.SYNCED and watcher.next <= self._hub.revision

    def _start_timer(self) -> None:
        self._timer = self._hub.loop.call_later(self._hub.progress_interval(), self._tick)

    def _tick(self) -> None:
        """Progress for every watcher that wants it and was sent nothing since the last tick."""
        self._timer = None
        notified = [watcher for watcher in self.state.watchers.values() if watcher.notify]
        for watcher in notified:
            if watcher.idle and self._is_current(watcher) and self.state.outlet.ready():
                self.state.outlet.send(watch_response.progress(self._header(), watcher.watch_id))
            watcher.idle = True
        if notified:
            self._start_timer()
