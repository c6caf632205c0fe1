"""The API server over HTTP, for what kubectl hides: pages, watches and many objects at once."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from cluster.kubernetes.plane import ControlPlane

#: Seconds until a silent connection is given up.
TIMEOUT = 60.0

#: Seconds after which a connection that was not used is not used again: the API server closes it
#: after 90.
IDLE = 30.0


class Failed(Exception):
    """A status of the API server other than success."""

    def __init__(self, code: int, body: Any) -> None:
        super().__init__(f"{code}: {body}")
        self.code = code
        self.body = body


class Api:
    """An administrator's connections to the API server, one a thread."""

    def __init__(self, plane: ControlPlane) -> None:
        parts = urlsplit(plane.url)
        self._host, self._port = parts.hostname or "", parts.port
        self._context = ssl.create_default_context(cafile=plane.authority)
        self._context.load_cert_chain(plane.administrator.cert, plane.administrator.key)
        self._local = threading.local()

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        content_type: str = "application/json",
        **options: object,
    ) -> Any:
        """The decoded answer. Raises Failed, and OSError or HTTPException for the connection."""
        connection = self._connection()
        try:
            content = None if body is None else json.dumps(body)
            headers = {"Content-Type": content_type}
            connection.request(method, _with(path, options), content, headers)
            response = connection.getresponse()
            decoded = json.loads(response.read())
        except BaseException:
            connection.close()
            del self._local.connection
            raise
        if response.status >= 300:
            raise Failed(response.status, decoded)
        return decoded

    def reconnect(self) -> None:
        """Forget the connections of all threads: the API server was started again."""
        self._local = threading.local()

    def text(self, path: str) -> str:
        """A page that is not JSON."""
        connection = self._connect()
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def watch(self, path: str, **options: object) -> Iterator[dict[str, Any]]:
        """Events, until the server ends the watch. Raises TimeoutError after a silence."""
        connection = self._connect()
        try:
            connection.request("GET", _with(path, {"watch": "true"} | options))
            response = connection.getresponse()
            if response.status != 200:
                raise Failed(response.status, json.loads(response.read()))
            for line in response:
                yield json.loads(line)
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPSConnection:
        now = time.monotonic()
        if not hasattr(self._local, "connection") or now > self._local.used + IDLE:
            self._local.connection = self._connect()
        self._local.used = now
        found: http.client.HTTPSConnection = self._local.connection
        return found

    def _connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            self._host, self._port or 443, timeout=TIMEOUT, context=self._context
        )


def config_maps(namespace: str) -> str:
    """Path of a namespace's config maps."""
    return f"/api/v1/namespaces/{namespace}/configmaps"


def config_map(name: str, **labels: str) -> dict[str, object]:
    """An object of a few hundred bytes."""
    meta = {"name": name, "labels": labels}
    data = {"text": "x" * 200}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def _with(path: str, options: dict[str, object]) -> str:
    given = {key: value for key, value in options.items() if value is not None}
    return f"{path}?{urlencode(given, quote_via=quote)}" if given else path
