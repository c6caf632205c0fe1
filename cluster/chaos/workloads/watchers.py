"""Watchers of all keys from the first revision on, across reconnects and members."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from typing import Any

import grpc

from rusd.proto import kv_pb2 as kv
from rusd.proto import rpc_pb2 as rpc

from ..client import Client
from ..history import Change, Delivery

_WATCH = "/etcdserverpb.Watch/Watch"
#: Seconds between two requests for progress, and before a broken stream is opened again.
PROGRESS = 1.0
AGAIN = 0.1
#: Seconds without a response after which a stream is closed.
SILENCE = 4.0


class Watcher:
    """A logical watch, in a thread. Reconnects to `home`, or to any member without one."""

    def __init__(
        self, name: str, client: Client, home: int | None, *, asks_progress: bool = True
    ) -> None:
        self._asks_progress = asks_progress
        self.name = name
        self._client = client
        self._home = home
        #: The next revision to receive.
        self.position = 1
        self._stopping = threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def join(self) -> None:
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                member = self._client.member() if self._home is None else self._home
                self._watch(member)
                self._stopping.wait(AGAIN)
        except BaseException as error:  # noqa: BLE001
            # Kept for the run, which raises it: a thread has no caller.
            self.error = error

    def _watch(self, member: int) -> None:
        """Read one stream until it breaks or times out."""
        requests: queue.SimpleQueue[rpc.WatchRequest | None] = queue.SimpleQueue()
        asked = self.position
        create = rpc.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=asked)
        requests.put(rpc.WatchRequest(create_request=create))
        stream = self._client.connections.stream(
            member, _WATCH, iter(requests.get, None), rpc.WatchResponse
        )
        # grpcio may never tell the reader of a stream that it was cancelled (if its connection ends
        # at the same time), so that a stream is given up without waiting for its thread.
        responses: queue.SimpleQueue[rpc.WatchResponse | grpc.RpcError | None] = queue.SimpleQueue()
        threading.Thread(target=_read, args=(stream, responses), daemon=True).start()
        heard = asked_progress = self._client.clock()
        try:
            while True:
                now = self._client.clock()
                if now - asked_progress > PROGRESS:
                    if now - heard > SILENCE or self._stopping.is_set():
                        self._note(member, "broken", error="cancelled by the watcher")
                        return
                    if self._asks_progress:
                        requests.put(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))
                    asked_progress = now
                with contextlib.suppress(queue.Empty):
                    response = responses.get(timeout=PROGRESS)
                    if response is None:
                        return
                    if isinstance(response, grpc.RpcError):
                        text = f"{response.code().name}: {response.details()}"
                        self._note(member, "broken", error=text)
                        return
                    heard = self._client.clock()
                    self._receive(member, response, asked)
                    if response.canceled:
                        return
        finally:
            requests.put(None)
            stream.cancel()

    def _receive(self, member: int, response: rpc.WatchResponse, asked: int) -> None:
        revision = response.header.revision
        if response.created:
            self._note(member, "created", asked)
        if response.canceled:
            self._note(member, "canceled", revision, error=response.cancel_reason)
        elif response.events:
            changes = tuple(map(change_of, response.events))
            self.position = changes[-1].mod_revision + 1
            self._note(member, "events", revision, changes)
        elif not response.created:
            self._note(member, "progress", revision)

    def _note(
        self,
        member: int,
        kind: str,
        revision: int = 0,
        changes: tuple[Change, ...] = (),
        error: str = "",
    ) -> None:
        endpoint = self._client.names[member]
        at = self._client.clock()
        self._client.history.add(Delivery(self.name, endpoint, at, kind, revision, changes, error))


def _read(stream: Any, responses: queue.SimpleQueue[Any]) -> None:
    """Pass the responses of a stream on, and its error; None at its end."""
    try:
        for response in stream:
            responses.put(response)
        responses.put(None)
    except grpc.RpcError as error:
        responses.put(error)


def change_of(event: kv.Event) -> Change:
    """Convert a watch event. Equal texts, which every member sends, share one object."""
    item = event.kv
    key = sys.intern(item.key.decode())
    if event.type == kv.Event.DELETE:
        return Change(key, None, item.mod_revision)
    value = sys.intern(item.value.decode())
    return Change(key, value, item.mod_revision, item.create_revision, item.version)
