"""The HEALTHCHECK of the image: exit code 0 if the member in this container is alive.

    python -m rusd.cluster.healthcheck [URL]

Requests /livez, which tests the process and not the quorum. A health check that waits for a quorum
would keep the first member of a new cluster "starting" until the others are up.

Without URL, finds the member among the processes of the container and asks it at the first URL of
its --listen-metrics-urls, else of its --listen-client-urls, as flags, `ETCD_*` variables or
configuration file give them. Over TLS it presents the member's own certificate. A member that
declines that certificate is alive as well: only a running process sends an alert.
"""

from __future__ import annotations

import http.client
import ssl
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

#: Where etcd listens for clients by default.
DEFAULT_URL = "http://127.0.0.1:2379"
COMMANDS = ("rusd", "etcd")
#: Addresses that accept connections on all others; the check goes to loopback.
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


class Settings:
    """Settings of a running member, from its command line and environment."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self._given = dict(_flags(arguments))
        self._environment = environment
        self._file: dict[str, object] = {}
        if path := self.get("config-file"):
            import yaml

            self._file = yaml.safe_load(Path(path).read_text()) or {}
            self._given = {}  # etcd ignores flags and variables beside a file
            self._environment = {}

    def get(self, name: str) -> str:
        """Return the value of the flag `name`, or ""."""
        variable = self._environment.get("ETCD_" + name.upper().replace("-", "_"), "")
        return self._given.get(name) or variable or str(self._file.get(name) or "")

    def url(self) -> str:
        """Return a URL whose /livez responds."""
        listed = [self.get("listen-metrics-urls"), self.get("listen-client-urls"), DEFAULT_URL]
        urls = [url.strip() for each in listed for url in each.split(",")]
        return next(url for url in urls if url.startswith("http"))

    def certificate(self) -> tuple[str, str]:
        """Return the files of the member's certificate and key, or ("", "")."""
        section = self._file.get("client-transport-security")
        if isinstance(section, dict):
            return str(section.get("cert-file") or ""), str(section.get("key-file") or "")
        return self.get("cert-file"), self.get("key-file")


def alive(url: str, certificate: tuple[str, str] = ("", ""), timeout: float = 3.0) -> bool:
    """Return whether /livez of `url` responds with status 200, or its TLS declines this client."""
    try:
        connection = _connection(urlsplit(url), certificate, timeout)
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except (OSError, http.client.HTTPException):
        return False


def member(processes: Path = Path("/proc")) -> Settings | None:
    """Return the settings of the member that runs in this container, or None."""
    for process in sorted(processes.glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            variables = (process / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # of another user, or gone
            continue
        # A script runs as `python /path/of/rusd --flags`.
        if any(Path(word).name in COMMANDS for word in words[:2]):
            return Settings(words, dict(each.split("=", 1) for each in variables if "=" in each))
    return None


def _flags(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    for word, following in zip(arguments, [*arguments, ""][1:], strict=True):
        if word.startswith("-"):
            name, equals, value = word.lstrip("-").partition("=")
            yield name, value if equals else following


def _connection(
    url: SplitResult, certificate: tuple[str, str], timeout: float
) -> http.client.HTTPConnection:
    host, port = ANY.get(url.hostname or "", url.hostname or ""), url.port or 2379
    if url.scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=timeout)
    # The member is asked whether it lives, not which one it is.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if all(certificate):
        context.load_cert_chain(*certificate)
    return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)


def main(arguments: Sequence[str]) -> int:
    """Return the exit code of the check."""
    if arguments:
        return 0 if alive(arguments[0]) else 1
    found = member()
    return 0 if found and alive(found.url(), found.certificate()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
