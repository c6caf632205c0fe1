"""The certificates of docker-compose.tls.yml and kind-config.yaml, in one directory.

`ca.crt` signs all others; its key is kept nowhere. `server` and `peer` are for all members, whose
containers run as another user than the caller: the keys are readable for all users of this machine.
`client` is for the API server and for etcdctl.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from ..certificates import Authority

#: Names of the members' containers.
MEMBERS = ("rusd-1", "rusd-2", "rusd-3")

#: Names in the certificates: a further member may be added.
_SERVED = (*MEMBERS, "rusd-4")

VALID = timedelta(days=365)

#: Certificates that end sooner than this are made anew.
_LEFT = timedelta(days=1)


def provide(directory: Path) -> None:
    """Make the files of `directory`, unless they are there and still valid."""
    if _usable(directory):
        return
    authority = Authority(directory, "ca", valid=VALID)
    local = ["localhost", "127.0.0.1", "::1"]
    authority.issue("peer", _SERVED, valid=VALID)
    authority.issue("server", [*_SERVED, *local], valid=VALID)
    # The last file: without it the others are not complete.
    authority.issue("client", valid=VALID)


def _usable(directory: Path) -> bool:
    try:
        found = x509.load_pem_x509_certificate((directory / "client.crt").read_bytes())
    except FileNotFoundError:
        return False
    return found.not_valid_after_utc - datetime.now(UTC) > _LEFT
