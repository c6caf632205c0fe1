"""Member and cluster ids, derived as etcd derives them.

Both are the first 8 bytes (big endian) of a SHA-1 digest, which is no secret.
"""

import hashlib
import struct
from collections.abc import Iterable


def _first_eight_bytes(text: bytes) -> int:
    (value,) = struct.unpack_from(">Q", hashlib.sha1(text, usedforsecurity=False).digest())
    return int(value)


def member_id(peer_urls: Iterable[str], token: str, when: int | None = None) -> int:
    """Returns the id of a member.

    `peer_urls`: as advertised; `token`: --initial-cluster-token (empty for members added to a
    running cluster); `when`: Unix seconds of the addition, None for bootstrap members.
    """
    text = "".join(sorted(peer_urls)) + token + ("" if when is None else str(when))
    return _first_eight_bytes(text.encode())


def cluster_id(member_ids: Iterable[int]) -> int:
    """Returns the id of the cluster from the ids of its bootstrap members. It never changes."""
    ids = sorted(member_ids)
    return _first_eight_bytes(struct.pack(f">{len(ids)}Q", *ids))
