"""A client of a few lines: the JSON gateway by the standard library."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.request
from typing import Any

from cluster.testing.servers import Cluster


def call(cluster: Cluster, method: str, member: int = 0, token: str = "", **fields: Any) -> Any:
    """The response of a member to `/v3/<method>`; keys and values are given as text."""
    body = {
        name: base64.b64encode(value.encode()).decode()
        if name in ("key", "value", "range_end")
        else value
        for name, value in fields.items()
    }
    request = urllib.request.Request(
        f"{cluster.members[member].client_url}/v3/{method}",
        json.dumps(body).encode(),
        {"Authorization": token} if token else {},
    )
    context = None
    if cluster.tls is not None:
        context = ssl.create_default_context(cafile=str(cluster.tls.authority))
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        return json.load(answer)


def put(cluster: Cluster, key: str, value: str = "v", **more: Any) -> int:
    """The revision of a write."""
    return int(call(cluster, "kv/put", key=key, value=value, **more)["header"]["revision"])


def keys(cluster: Cluster, **more: Any) -> list[str]:
    found = call(cluster, "kv/range", key="\0", range_end="\0", **more).get("kvs", [])
    return [base64.b64decode(each["key"]).decode() for each in found]
