"""Calls of another etcd over its JSON gateway (`/v3/kv/range`, `/v3/kv/put`, `/v3/auth`).

The gateway, since the server has no gRPC client. Every etcd since 3.4 answers it at its client URLs
unless it was started with `--enable-grpc-gateway=false`.
"""

import base64
import ssl
from types import TracebackType
from typing import Any, Self

import aiohttp

from rusd.config import Config, ConfigError
from rusd.member.discovery.registry import Registered


class RegistryClient:
    """One session with the endpoints of `--discovery-endpoints`, tried in their order."""

    def __init__(self, config: Config) -> None:
        """Raises ConfigError if a certificate cannot be used."""
        self._endpoints = [_url(each, config) for each in config.discovery_endpoints]
        user, colon, password = config.discovery_user.partition(":")
        self._user = user
        self._password = password if colon else config.discovery_password
        self._context = _context(config)
        self._timeout = aiohttp.ClientTimeout(
            total=config.discovery_dial_timeout + config.discovery_request_timeout,
            connect=config.discovery_dial_timeout,
        )
        self._token: str | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=self._timeout, connector=aiohttp.TCPConnector(ssl=self._context)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def get(self, prefix: str) -> list[Registered]:
        """Return all keys that begin with `prefix`, by a linearizable read. Raises OSError."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        answer = await self._call("kv/range", {"key": _base64(prefix), "range_end": _base64(end)})
        return [
            Registered(_text(kv["key"]), _text(kv.get("value", "")), int(kv["create_revision"]))
            for kv in answer.get("kvs", ())
        ]

    async def put(self, key: str, value: str) -> None:
        """Write one key. Raises OSError."""
        await self._call("kv/put", {"key": _base64(key), "value": _base64(value)})

    async def _call(self, path: str, body: dict[str, str]) -> dict[str, Any]:
        """Return the response of the first endpoint that responds. Raises OSError if none does."""
        failure: Exception = OSError("no endpoint")
        for endpoint in self._endpoints:
            try:
                if self._user and self._token is None:
                    login = {"name": self._user, "password": self._password}
                    self._token = (await self._post(endpoint, "auth/authenticate", login))["token"]
                return await self._post(endpoint, path, body)
            except (aiohttp.ClientError, OSError, ValueError, KeyError) as error:
                self._token = None
                failure = error
        raise OSError(str(failure) or type(failure).__name__) from failure

    async def _post(self, endpoint: str, path: str, body: dict[str, str]) -> dict[str, Any]:
        headers = {"Authorization": self._token} if self._token else {}
        async with self._session.post(f"{endpoint}/v3/{path}", json=body, headers=headers) as got:
            answer: dict[str, Any] = await got.json(content_type=None)
            if got.status != 200:
                raise OSError(str(answer.get("message", got.reason)))
            return answer


def _url(endpoint: str, config: Config) -> str:
    """Return the endpoint as a URL; a missing scheme follows from the TLS flags."""
    if "://" in endpoint:
        return endpoint.rstrip("/")
    secure = not config.discovery_insecure_transport or bool(config.discovery_cacert)
    return f"{'https' if secure else 'http'}://{endpoint}"


def _context(config: Config) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=config.discovery_cacert or None)
        if config.discovery_cert or config.discovery_key:
            context.load_cert_chain(config.discovery_cert, config.discovery_key or None)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot use the certificates of discovery: {error}") from None
    if config.discovery_insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode(errors="replace").strip()
