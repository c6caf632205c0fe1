"""TLS for docker-compose.yml: certificates, and the variables that make compose use them.

    python -m cluster.compose_tls build/tls
    docker compose --env-file build/tls/compose.env up --detach

`ca.crt` signs all others; its key is kept nowhere. `server` and `peer` are for all members,
`client` is for clients (etcdctl, an API server). Keys are readable by their user alone (mode 0600).
The members' containers therefore run as the caller. A caller that is root gives the members' keys
to the user of the image instead: a member needs no root.

Certificates are kept until they are about to end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from .certificates import Authority

#: Names of the members' containers.
MEMBERS = ("rusd-1", "rusd-2", "rusd-3")

#: Names in the certificates: a further member may be added.
_SERVED = (*MEMBERS, "rusd-4")

VALID = timedelta(days=365)

#: Certificates that end sooner than this are made anew.
_LEFT = timedelta(days=1)

#: User and group of the image (cluster/Dockerfile).
IMAGE_USER = (10001, 10001)

#: Variables for compose, in the directory of the certificates.
VARIABLES = "compose.env"

#: The project, apart from the one without TLS, whose volumes hold members with other URLs.
_PROJECT = "rusd-tls"


def provide(directory: Path) -> Path:
    """Make the files of `directory`, unless they are there and still valid.

    Returns the file of variables. Raises OSError if files belong to another user.
    """
    if not _usable(directory):
        authority = Authority(directory, "ca", valid=VALID)
        local = ["localhost", "127.0.0.1", "::1"]
        authority.issue("peer", _SERVED, valid=VALID)
        authority.issue("server", [*_SERVED, *local], valid=VALID)
        # The last file: without it the others are not complete.
        authority.issue("client", valid=VALID)
    user = _user()
    _restrict(directory, user)
    variables = {
        "COMPOSE_FILE": "docker-compose.yml:docker-compose.tls.yml",
        "COMPOSE_PROJECT_NAME": _PROJECT,
        "RUSD_SCHEME": "https",
        "RUSD_TLS": directory.resolve(),
        "RUSD_USER": f"{user[0]}:{user[1]}",
    }
    file = directory / VARIABLES
    file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    return file


def _user() -> tuple[int, int]:
    """Return the user and group of the members."""
    return IMAGE_USER if os.getuid() == 0 else (os.getuid(), os.getgid())


def _restrict(directory: Path, user: tuple[int, int]) -> None:
    """Give each key to its user alone, whatever the caller's umask or an earlier version left."""
    directory.chmod(0o755)
    for certificate in directory.glob("*.crt"):
        certificate.chmod(0o644)
    for key in directory.glob("*.key"):
        key.chmod(0o600)
    for name in ("server.key", "peer.key"):
        key = directory / name
        if (key.stat().st_uid, key.stat().st_gid) != user:
            os.chown(key, *user)


def _usable(directory: Path) -> bool:
    try:
        found = x509.load_pem_x509_certificate((directory / "client.crt").read_bytes())
    except FileNotFoundError:
        return False
    return found.not_valid_after_utc - datetime.now(UTC) > _LEFT


def main(arguments: Sequence[str]) -> int:
    """Make the files of the directory that is named; return the exit code."""
    if len(arguments) != 1:
        print(f"usage: python -m {__spec__.name} DIRECTORY", file=sys.stderr)
        return 2
    try:
        provide(Path(arguments[0]))
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
