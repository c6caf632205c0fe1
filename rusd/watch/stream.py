"""One client's watch stream: create, cancel and progress requests, and its progress timer."""

from __future__ import annotations

from rusd.base.timers import Timer
from rusd.proto import rpc_pb2 as rpc
from rusd.watch.errors import TooManyUnread
from rusd.watch.ports import Hub
from rusd.watch.states import WatcherEvent, WatcherState
from rusd.watch.watcher import StreamState, Subscription, Watcher
from rusd.wire import watch_response

#: etcd's cancel_reason texts for refused watchers (in a response, not a gRPC status).
EMPTY_RANGE = "mvcc: watcher range is empty"
DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"

#: Responses to requests that may wait while the response stream is not ready. One more ends the
#: stream with "too many requests": the client sends requests and does not read.
MAX_UNREAD_RESPONSES = 16_384

#: WatchCreateRequest.watch_id of a client that leaves the choice to the server.
_AUTOMATIC = 0


class WatchStream:
    """The watchers of one stream. Responses and events keep their order."""

    __slots__ = (
        "__weakref__",
        "_hub",
        "_next_id",
        "_progress_pending",
        "_timer",
        "_unread",
        "state",
    )

    def __init__(self, hub: Hub, state: StreamState) -> None:
        self.state = state
        self._hub = hub
        self._next_id = 0
        self._timer: Timer | None = None
        #: Responses sent since the response stream was ready last.
        self._unread = 0
        #: A progress response waits until the response stream is ready.
        self._progress_pending = False

    def create(self, request: rpc.WatchCreateRequest) -> None:
        """Add a watcher and answer `created`, or `canceled` with the reason of a refusal."""
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
        self._respond(watch_response.created(self._header(), watch_id))
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
        """Answer a create request with `created` and `canceled` in one response, as etcd does."""
        self._respond(watch_response.refused(self._header(), reason))

    def cancel(self, watch_id: int, reason: str = "") -> None:
        """Remove one watcher and answer `canceled`; an unknown id is ignored, as in etcd. `reason`:
        why the server cancels it.
        """
        watcher = self.state.watchers.get(watch_id)
        if watcher is not None:
            self._hub.remove_watcher(watcher, WatcherEvent.CANCELED)
            self._respond(watch_response.canceled(self._header(), watch_id, reason))

    def progress(self) -> None:
        """Answer a progress request with the revision that every watcher has received.

        Sends nothing while a watcher is behind or starts in the future, or if there is none, as in
        etcd; the client repeats the request.
        """
        if not self.state.watchers or not all(map(self._is_current, self.state.watchers.values())):
            return
        if self.state.responses.ready():
            self.state.responses.send(
                watch_response.progress(self._header(), watch_response.NO_WATCHER)
            )
        else:
            # One response waits, however many requests there were.
            self._progress_pending = True

    def drained(self) -> None:
        """The response stream is ready again."""
        self._unread = 0
        self._hub.drained(self.state)
        if self._progress_pending:
            self._progress_pending = False
            self.progress()

    def close(self) -> None:
        """Remove all watchers without a response. Idempotent."""
        for watcher in list(self.state.watchers.values()):
            self._hub.remove_watcher(watcher, WatcherEvent.STREAM_CLOSED)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._hub.stream_closed(self.state)

    def _header(self) -> bytes:
        return self._hub.header(self._hub.revision)

    def _refusal(self, request: rpc.WatchCreateRequest, subscription: Subscription) -> str | None:
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

    def _respond(self, message: bytes) -> None:
        responses = self.state.responses
        if not responses.ready():
            self._unread += 1
            if self._unread > MAX_UNREAD_RESPONSES:
                responses.finish(TooManyUnread())
                return
        responses.send(message)

    def _is_current(self, watcher: Watcher) -> bool:
        return watcher.state is WatcherState.SYNCED and watcher.next <= self._hub.revision

    def _start_timer(self) -> None:
        self._timer = self._hub.loop.call_later(self._hub.progress_interval(), self._tick)

    def _tick(self) -> None:
        """Send progress to each watcher that asked for it and received nothing since the last
        tick.
        """
        self._timer = None
        notified = [watcher for watcher in self.state.watchers.values() if watcher.notify]
        for watcher in notified:
            if watcher.idle and self._is_current(watcher) and self.state.responses.ready():
                self.state.responses.send(watch_response.progress(self._header(), watcher.watch_id))
            watcher.idle = True
        if notified:
            self._start_timer()
