"""A client of HTTP ports: one request, its answer; or a raw socket."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple, Self


class Answer(NamedTuple):
    """The response to one request."""

    status: int
    #: Names in lowercase.
    headers: dict[str, str]
    body: bytes


class Exchange:
    """One request on a connection of its own, whose response is read step by step."""

    def __init__(
        self,
        endpoint: str,
        path: str,
        body: str | bytes = b"",
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> None:
        self._connection = http.client.HTTPConnection(endpoint, timeout=timeout)
        sent = body.encode() if isinstance(body, str) else body
        self._connection.request(method, path, sent, dict(headers or {}))
        self._response: http.client.HTTPResponse | None = None

    @property
    def response(self) -> http.client.HTTPResponse:
        if self._response is None:
            self._response = self._connection.getresponse()
        return self._response

    def line(self) -> bytes:
        return self.response.readline()

    def rest(self) -> Answer:
        response = self.response
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def ask(
    endpoint: str,
    path: str,
    body: str | bytes = b"",
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """The response to one request."""
    with Exchange(endpoint, path, body, method, headers) as exchange:
        return exchange.rest()


def alive(url: str) -> bool:
    """Return whether a member runs, by the liveness probe of its metrics URL: it answers there from
    its start, before it serves clients.
    """
    try:
        return ask(url.removeprefix("http://"), "/livez", method="GET").status == 200
    except OSError:
        return False


def raw(endpoint: str, sent: bytes, timeout: float = 60) -> bytes:
    """Send `sent` over a connection; return the answer until it closes."""
    host, _, port = endpoint.rpartition(":")
    received = []
    with socket.create_connection((host, int(port)), timeout) as connection:
        connection.sendall(sent)
        try:
            while chunk := connection.recv(65536):
                received.append(chunk)
        except ConnectionResetError:
            pass
    return b"".join(received)
