"""The files of the console as pages: read and compressed once, when the first one is asked for.

A browser asks with the entity tag of what it holds, at every load: an upgraded member is seen at
once. The security fields forbid a page of the console to load or run what is not in the folder, and
other sites to show it in a frame.
"""

import asyncio
import gzip
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rusd.door.http.router import NOSNIFF, NOT_FOUND, not_allowed
from rusd.rpc.pages import PageRequest, PageResponse

#: Below this path is the console.
ROOT = "/console/"
SITE = Path(__file__).with_name("site")
#: Bytes of a file from which on it is sent compressed.
COMPRESSED_FROM = 512

_INDEX = "index.html"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_OTHER_TYPE = "text/plain; charset=utf-8"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY = (
    ("Content-Security-Policy", _POLICY),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    NOSNIFF,
)
_TAGS = re.compile(r'(?:W/)?"[^"]*"')
_CODING = re.compile(r"\s*(gzip|x-gzip|\*)\s*(?:;\s*q=([0-9.]+)\s*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    #: None if it is not worth it.
    compressed: bytes | None
    tag: str
    headers: Sequence[tuple[str, str]]


class ConsoleFiles:
    """The files of one folder."""

    def __init__(self, folder: Path = SITE) -> None:
        self._folder = folder
        self._loading = asyncio.Lock()
        #: By the path below `ROOT`; None before the first request.
        self._files: Mapping[str, _File] | None = None

    async def redirect(self, request: PageRequest) -> PageResponse:
        """Return the way to `ROOT`; relative, for the sake of proxies that add to the path."""
        if request.method not in ("GET", "HEAD"):
            return not_allowed("GET", "HEAD")
        return PageResponse(307, [("Location", ROOT.strip("/") + "/"), *SECURITY])

    async def page(self, request: PageRequest) -> PageResponse:
        """See `Page`."""
        if request.method not in ("GET", "HEAD"):
            return not_allowed("GET", "HEAD")
        files = await self._all()
        file = files.get(request.path.removeprefix(ROOT) or _INDEX)
        if file is None:
            return NOT_FOUND
        if file.tag in _TAGS.findall(request.headers.get("if-none-match", "")):
            return PageResponse(304, file.headers)
        if file.compressed is not None and _takes_gzip(request.headers.get("accept-encoding", "")):
            return PageResponse(200, (*file.headers, ("Content-Encoding", "gzip")), file.compressed)
        return PageResponse(200, file.headers, file.content)

    async def _all(self) -> Mapping[str, _File]:
        async with self._loading:
            if self._files is None:
                self._files = await asyncio.to_thread(_load, self._folder)
            return self._files


def _takes_gzip(accepted: str) -> bool:
    found = filter(None, map(_CODING.fullmatch, accepted.split(",")))
    return any(coding[2] is None or coding[2].strip("0.") for coding in found)


def _load(folder: Path) -> dict[str, _File]:
    return {
        path.relative_to(folder).as_posix(): _file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and not path.name.startswith(".")
    }


def _file(path: Path) -> _File:
    content = path.read_bytes()
    small = gzip.compress(content, mtime=0) if len(content) >= COMPRESSED_FROM else content
    # (Weak: the same file compressed has the same tag.)
    tag = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = (
        ("Content-Type", _TYPES.get(path.suffix, _OTHER_TYPE)),
        ("ETag", tag),
        ("Cache-Control", "no-cache"),
        ("Vary", "Accept-Encoding"),
        *SECURITY,
    )
    return _File(content, small if len(small) < len(content) else None, tag, headers)
