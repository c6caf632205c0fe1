"""Config maps written through the API server and watched, while something fails; then judged."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from types import TracebackType
from typing import Any, Self

from cluster.kubernetes.plane import ControlPlane
from cluster.local import LocalCluster
from cluster.tls import Tls
from tests.kubernetes.store import revisions
from tests.support.kubernetes_api import Api, Failed, config_map, config_maps
from tests.support.waiting import wait

#: What a client of the API server meets while the store or the API server is away.
GONE = (OSError, http.client.HTTPException, Failed)

#: Seconds between two writes.
PACE = 0.02

#: Seconds that the watch may take to see the last write.
SETTLE = 60.0

#: Seconds that the API server's cache may take to hold what is stored.
CAUGHT_UP = 30.0


class Traffic:
    """A writer of one object after the other, and a watch that is resumed when it ends."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self._namespace = namespace
        self._path = config_maps(namespace)
        self._api = Api(plane)
        self._stop = threading.Event()
        #: The writer has ended: no further write is acknowledged.
        self._written = threading.Event()
        listed = self._api.call("GET", self._path)
        self._version: str = listed["metadata"]["resourceVersion"]
        #: Name and version of each object whose creation was acknowledged.
        self.acknowledged: dict[str, int] = {}
        #: Version, kind and name of each event, in the order of their arrival.
        self.events: list[tuple[int, str, str]] = []
        #: The longest time between two acknowledged writes, seconds.
        self.longest_gap = 0.0
        self._writer = threading.Thread(target=self._write)
        self._watcher = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._writer.start()
        self._watcher.start()
        self.wait_for(20)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.wait_for(50)
        self._stop.set()
        self._writer.join()
        self._written.set()
        self._watcher.join()

    def wait_for(self, writes: int, timeout: float = 60.0) -> None:
        """Wait until this many more writes were acknowledged."""
        due = len(self.acknowledged) + writes
        wait(
            lambda: len(self.acknowledged) >= due or None,
            f"no {writes} writes within {timeout:g} s",
            timeout,
        )

    def check(self, members: LocalCluster, tls: Tls | None) -> None:
        """No acknowledged object is lost; no event is lost, repeated or out of order; the API
        server lists from its cache what the store holds.
        """
        self._api.reconnect()
        listed = self._api.call("GET", self._path)["items"]
        stored = {
            each["metadata"]["name"]: int(each["metadata"]["resourceVersion"]) for each in listed
        }
        lost = {n: v for n, v in self.acknowledged.items() if stored.get(n) != v}
        assert not lost, f"acknowledged and not stored: {lost}"
        versions = [version for version, _, _ in self.events]
        assert versions == sorted(set(versions)), "events twice or out of order"
        written = {name: version for version, _, name in self.events if name.startswith("written-")}
        expected = {name: v for name, v in stored.items() if name.startswith("written-")}
        lost = {n: v for n, v in expected.items() if written.get(n) != v}
        assert not lost, f"stored and not seen by the watch: {lost}"
        assert written == expected, f"seen and not stored: {written.keys() - expected.keys()}"
        for kind in ("configmaps", "pods"):
            self._compare(members, tls, kind)

    def _compare(self, members: LocalCluster, tls: Tls | None, kind: str) -> None:
        """Wait until the cache has what the store has: controllers may still be at work."""
        path = f"/api/v1/namespaces/{self._namespace}/{kind}"
        cached: dict[str, int] = {}
        stored: dict[str, int] = {}

        def same() -> bool | None:
            nonlocal cached, stored
            listed = self._api.call("GET", path, resourceVersion=0)["items"]
            metas = [each["metadata"] for each in listed]
            cached = {meta["name"]: int(meta["resourceVersion"]) for meta in metas}
            _, found = revisions(members, tls, f"/registry/{kind}/{self._namespace}/")
            stored = {key.rsplit("/", 1)[1]: revision for key, revision in found.items()}
            return cached == stored or None

        def differences() -> str:
            return f"{kind}: cached and stored differ: {cached.items() ^ stored.items()}"

        wait(same, differences, CAUGHT_UP)

    def _write(self) -> None:
        last = time.monotonic()
        for number in itertools.count():
            if self._stop.is_set():
                return
            name = f"written-{number:06}"
            try:
                made = self._api.call("POST", self._path, config_map(name))
            except GONE:
                # Not known whether it is stored: another name is next.
                self._stop.wait(PACE)
                continue
            self.acknowledged[name] = int(made["metadata"]["resourceVersion"])
            now = time.monotonic()
            self.longest_gap = max(self.longest_gap, now - last)
            last = now
            self._stop.wait(PACE)

    def _watch(self) -> None:
        """Read events until the last acknowledged write was seen."""
        deadline = None
        while True:
            if self._written.is_set():
                deadline = deadline or time.monotonic() + SETTLE
                last = max(self.acknowledged.values())
                if time.monotonic() > deadline or int(self._version) >= last:
                    return
            try:
                for event in self._api.watch(
                    self._path, resourceVersion=self._version, timeoutSeconds=2
                ):
                    self._take(event)
            except Failed as error:
                if error.code == http.client.GONE:
                    self._list_again()
                time.sleep(PACE)
            except GONE:
                time.sleep(PACE)

    def _list_again(self) -> None:
        """Go on from a list, as clients do: an API server that was started again has no events of
        the time before.
        """
        listed = self._api.call("GET", self._path)
        metas = [each["metadata"] for each in listed["items"]]
        found = sorted((int(meta["resourceVersion"]), meta["name"]) for meta in metas)
        newer = [each for each in found if each[0] > int(self._version)]
        self.events += [(version, "LISTED", name) for version, name in newer]
        self._version = listed["metadata"]["resourceVersion"]

    def _take(self, event: dict[str, Any]) -> None:
        if event["type"] == "ERROR":
            raise Failed(event["object"]["code"], event["object"])
        meta = event["object"]["metadata"]
        self._version = meta["resourceVersion"]
        self.events.append((int(self._version), event["type"], meta["name"]))
