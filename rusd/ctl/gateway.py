"""Calls to a member: JSON over HTTP, through the gateway of its client port, and its pages.

A call goes to the endpoints in turn until one of them takes the connection. It is not repeated
after that: the request may have been carried out.

An endpoint may be anything: a response is bounded in its size, and in its time as a whole.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

Json = dict[str, Any]

#: Bytes of a response (as of a message of gRPC), of a page, and of a message of a stream.
LARGEST: Final = (1 << 31) - 1
LONGEST: Final = 64 << 20


class CallError(Exception):
    """The member refused the call; the message is etcd's."""


class Unreachable(CallError):
    """No endpoint took the connection, or the response did not come in time."""


class Access(NamedTuple):
    """Files for TLS (None: system's authorities, no certificate), a user, and seconds to wait."""

    cacert: str | None = None
    cert: str | None = None
    key: str | None = None
    skip_verify: bool = False
    user: str = ""
    password: str = ""
    dial_timeout: float = 2.0
    timeout: float = 5.0
    #: Ask no endpoint without TLS.
    tls_only: bool = False

    @property
    def secure(self) -> bool:
        """Whether an endpoint without a scheme means TLS."""
        return bool(self.cacert or self.cert or self.skip_verify)


class Page(NamedTuple):
    """A page of a member, and when it was asked for."""

    status: int
    body: bytes
    #: The header `Date`, or "".
    date: str
    #: Wall clock of this machine before the request was sent, and when the response began.
    sent: float
    received: float
    #: The certificate of the endpoint (DER), if it has TLS.
    certificate: bytes | None


class Messages:
    """The messages of a stream, for which there is no deadline; `close` ends it from any thread."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self._socket = connection.sock
        self._socket.settimeout(None)
        self._closed = False

    def __iter__(self) -> Iterator[Json]:
        try:
            response = self._connection.getresponse()
            if response.status != 200:
                _checked(response)
            while line := response.readline(LONGEST):
                message = json.loads(line)
                if "error" in message:
                    raise CallError(str(message["error"]["message"]))
                yield message["result"]
        except (OSError, http.client.HTTPException, ValueError) as error:
            if not self._closed:
                raise _unreachable(error) from error
        except (KeyError, TypeError, RecursionError) as error:
            raise CallError("the stream is not that of a gateway") from error
        finally:
            self._connection.close()

    def close(self) -> None:
        self._closed = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class Gateway:
    """A client of the members at `endpoints`."""

    def __init__(self, endpoints: Sequence[str], access: Access, largest: int = LARGEST) -> None:
        """`largest`: bytes of a response."""
        self._largest = largest
        self._endpoints = endpoints
        self._access = access
        self._context: ssl.SSLContext | None = None
        self._token: str | None = None

    def call(self, path: str, request: Json, longest: int | None = None) -> Json:
        """Return the response to a unary call, of `longest` bytes at most. Raises CallError."""
        connection = self._send(path, request)
        try:
            with deadline(connection.sock, self._access.timeout):
                return _checked(connection.getresponse(), longest or self._largest)
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(error) from error
        finally:
            connection.close()

    def stream(self, path: str, request: Json) -> Messages:
        """Begin a stream. Raises CallError, also while messages are read."""
        return Messages(self._send(path, request))

    def page(self, path: str, longest: int = LONGEST) -> Page:
        """Return a page of the first endpoint, such as `/metrics`, of `longest` bytes at most.
        Raises CallError.
        """
        try:
            with closing(self._connection(self._endpoints[0])) as connection:
                connection.connect()
                connection.sock.settimeout(self._access.timeout)
                certificate = _certificate(connection.sock)
                sent = time.time()
                with deadline(connection.sock, self._access.timeout):
                    connection.request("GET", path)
                    response = connection.getresponse()
                    received = time.time()
                    body = _read(response, longest)
                date = response.headers.get("Date", "")
                return Page(response.status, body, date, sent, received, certificate)
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(error) from error

    def _send(self, path: str, request: Json) -> http.client.HTTPConnection:
        """Send the request to the first endpoint that takes a connection."""
        headers = {"Content-Type": "application/json"}
        if path != "auth/authenticate" and (token := self._authenticate()):
            headers["Authorization"] = token
        failure = Unreachable("no endpoints available")
        for endpoint in self._endpoints:
            try:
                connection = self._connection(endpoint)
            except Unreachable as error:
                failure = error
                continue
            try:
                connection.connect()
                connection.sock.settimeout(self._access.timeout)
                connection.request("POST", f"/v3/{path}", json.dumps(request), headers)
                return connection
            except (OSError, http.client.HTTPException, UnicodeError) as error:
                # (A name with a label of more than 63 characters is a UnicodeError.)
                connection.close()
                failure = _unreachable(error)
        raise failure

    def _authenticate(self) -> str:
        """Return the token of the user, or "" without a user or where authentication is off."""
        if not self._access.user:
            return ""
        if self._token is None:
            login = {"name": self._access.user, "password": self._access.password}
            try:
                self._token = str(self.call("auth/authenticate", login)["token"])
            except CallError as error:
                if "authentication is not enabled" not in str(error):
                    raise
                self._token = ""
        return self._token

    def _connection(self, endpoint: str) -> http.client.HTTPConnection:
        scheme, separator, rest = endpoint.partition("://")
        if not separator:
            scheme, rest = "https" if self._access.secure else "http", endpoint
        if scheme not in ("http", "https"):
            raise Unreachable(f"{endpoint}: only http and https endpoints are supported")
        try:
            url = urlsplit(f"//{rest}")
            host, port = url.hostname or "127.0.0.1", url.port or 2379
        except ValueError as error:
            raise Unreachable(f"{endpoint}: {error}") from error
        timeout = self._access.dial_timeout
        if scheme == "http" and self._access.tls_only:
            raise Unreachable("not asked without TLS, which the endpoints that were given have")
        try:
            if scheme == "http":
                return http.client.HTTPConnection(host, port, timeout=timeout)
            return http.client.HTTPSConnection(host, port, timeout=timeout, context=self._tls())
        except http.client.InvalidURL as error:
            raise _unreachable(error) from error

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            access = self._access
            self._context = ssl.create_default_context(cafile=access.cacert)
            if access.skip_verify:
                self._context.check_hostname = False
                self._context.verify_mode = ssl.CERT_NONE
            if access.cert:
                self._context.load_cert_chain(access.cert, access.key)
        return self._context


def _certificate(connected: socket.socket) -> bytes | None:
    return connected.getpeercert(binary_form=True) if isinstance(connected, ssl.SSLSocket) else None


def _unreachable(error: Exception) -> Unreachable:
    return Unreachable(_words(error))


@contextmanager
def deadline(connected: socket.socket, seconds: float) -> Iterator[None]:
    """Cut the connection off when the time is up: a timeout of a socket is that of one read, and
    bytes may come one by one. Raises TimeoutError then.
    """
    expired = threading.Event()

    def cut() -> None:
        expired.set()
        with suppress(OSError):
            # (Below TLS, which is not for two threads.)
            socket.socket.shutdown(connected, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        # (What came until then may look like a whole answer of another form.)
        if expired.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
    if expired.is_set():
        raise TimeoutError


def _read(response: http.client.HTTPResponse, longest: int) -> bytes:
    body = response.read(longest + 1)
    if len(body) > longest:
        raise CallError(f"a response of more than {longest:,} bytes")
    if response.length:
        raise http.client.IncompleteRead(body, response.length)
    return body


def _checked(response: http.client.HTTPResponse, longest: int = LONGEST) -> Json:
    body = _read(response, longest)
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise CallError(f"no gateway here: HTTP status {response.status}")
    if response.status != 200:
        raise CallError(str(message.get("message") or message.get("error") or response.reason))
    return message


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "context deadline exceeded"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    return str(getattr(error, "strerror", None) or error or type(error).__name__).lower()
