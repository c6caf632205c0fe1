"""Pages of keys that etcd's API has no call for: a level of their tree, and the changes of one.

- `level?prefix=&separator=&start=&revision=&limit=` what lies below a prefix, up to the next
  separator (`levels.py`)
- `history?key=&last=&limit=` the changes of a key that can still be read, newest first

Keys are base64, as in the gateway; 64-bit integers in answers are strings.

A page asks the table of methods for a txn that reads the range in the branch that is not taken: the
guards, a read index and the permission for the range are those of every call, and nothing is read
by it. Then the page reads the store at the revision of the answer.
"""

import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from typing import Any

from rusd.base import sliced
from rusd.base.chunks import Chunks
from rusd.console.levels import behind, level
from rusd.door.gateway import answers
from rusd.door.gateway.metadata import metadata
from rusd.door.http.router import NOSNIFF, not_allowed
from rusd.mvcc.interval import FROM_KEY
from rusd.mvcc.store import Store
from rusd.proto import rpc_pb2 as rpc
from rusd.rpc.call import Call
from rusd.rpc.errors import Code, EtcdError, as_etcd
from rusd.rpc.methods import Methods
from rusd.rpc.pages import Page, PageRequest, PageResponse

_TXN = "/etcdserverpb.KV/Txn"
#: Entries of a level, or changes of a key, in one answer.
PAGE = 100
_HEADERS = (("Content-Type", "application/json"), ("Cache-Control", "no-store"), NOSNIFF)
_LAST = (1 << 63) - 1


class KeyPages:
    """The pages of one member."""

    def __init__(self, methods: Methods, store: Callable[[], Store]) -> None:
        """`methods`: the table that the door serves."""
        self._methods = methods
        self._store = store

    def pages(self) -> dict[str, Page]:
        """Name below `/console/api/` -> page."""
        return {"level": _answered(self._level), "history": _answered(self._history)}

    async def _level(self, request: PageRequest) -> object:
        prefix, separator = _bytes(request, "prefix"), _bytes(request, "separator")
        start, limit = _bytes(request, "start"), _number(request, "limit", 1, PAGE, PAGE)
        revision = _number(request, "revision", 0, _LAST, 0)
        now = await self._permitted(request, prefix or FROM_KEY, behind(prefix) or FROM_KEY)
        store = self._store()
        if revision > now:
            # (This member may have applied more since.)
            store.check_readable(revision)
        reading = level(store, prefix, separator, start, revision or now, limit)
        found = await sliced.run(reading)
        return {
            "revision": str(revision or now),
            "entries": [
                {"name": _text(name), "key": None if key is None else _numbers(key)}
                for name, key in found.entries
            ],
            "following": None if found.following is None else _text(found.following),
        }

    async def _history(self, request: PageRequest) -> object:
        key, limit = _bytes(request, "key"), _number(request, "limit", 1, PAGE, PAGE)
        now = await self._permitted(request, key, b"")
        last = _number(request, "last", 0, _LAST, 0) or now
        store = self._store()
        found, more = await sliced.run(store.versions(key, min(last, now), limit))
        return {
            "revision": str(now),
            "first_revision": str(max(store.compact_revision, 1)),
            "versions": [
                {
                    "revision": str(one.revision),
                    "deleted": one.deleted,
                    "create_revision": str(one.create_revision),
                    "version": str(one.version),
                    "lease": str(one.lease),
                    "size": one.size,
                }
                for one in found
            ],
            "more": more,
        }

    async def _permitted(self, request: PageRequest, key: bytes, range_end: bytes) -> int:
        """Return a revision that all writes acknowledged before have reached. Raises a refusal if
        the caller may not read the range.
        """
        asked = rpc.RangeRequest(key=key, range_end=range_end)
        txn = rpc.TxnRequest(failure=[rpc.RequestOp(request_range=asked)])
        call = Call(metadata(request.headers), txn.SerializeToString(), None, request.caller)
        method: Any = self._methods[_TXN]
        response = method.call(txn, call)
        encoded = await response if isinstance(response, Awaitable) else response
        whole = b"".join(encoded) if isinstance(encoded, Chunks) else encoded
        revision: int = rpc.TxnResponse.FromString(whole).header.revision
        return revision


def _answered(page: Callable[[PageRequest], Awaitable[object]]) -> Page:
    """Return `page` with its answer as JSON, and its refusals in the words of the gateway."""

    async def answer(request: PageRequest) -> PageResponse:
        if request.method != "GET":
            return not_allowed("GET")
        try:
            found = await page(request)
        except Exception as error:
            refusal = as_etcd(error)
            if refusal is None:
                raise
            return answers.refusal(refusal)
        return PageResponse(200, _HEADERS, json.dumps(found, separators=(",", ":")).encode())

    return answer


def _bytes(request: PageRequest, name: str) -> bytes:
    try:
        return base64.b64decode(request.query.get(name, [""])[0], validate=True)
    except (binascii.Error, ValueError):
        raise EtcdError(Code.INVALID_ARGUMENT, f"{name} is not base64") from None


def _number(request: PageRequest, name: str, least: int, most: int, default: int) -> int:
    text = request.query.get(name, [""])[0]
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_LAST))):
        raise EtcdError(Code.INVALID_ARGUMENT, f"{name} is not a number")
    return min(max(int(text), least), most)


def _text(name: bytes) -> str:
    return base64.b64encode(name).decode()


def _numbers(key: tuple[int, int, int, int, int]) -> dict[str, object]:
    create, mod, version, lease, size = key
    return {
        "create_revision": str(create),
        "mod_revision": str(mod),
        "version": str(version),
        "lease": str(lease),
        "size": size,
    }
