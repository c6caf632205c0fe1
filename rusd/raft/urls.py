"""Where a member's peer URL leads."""

from urllib.parse import urlsplit

#: Errors of dialling an unreachable or malformed address (a member's URLs may be any text: etcd
#: checks them in additions only).
UNREACHABLE = (OSError, ValueError, OverflowError)


def address(url: str) -> tuple[str, int]:
    """Host and port of a peer URL."""
    parts = urlsplit(url)
    return parts.hostname or "localhost", parts.port or 2380
