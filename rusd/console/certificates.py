"""When the certificates of a member end, read from the files that its flags name."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from rusd.base.logs import get_logger

log = get_logger(__name__)

#: Seconds for which what was read counts.
READ_EVERY = 60.0


class Certificate(msgspec.Struct, frozen=True):
    """One file: the flag that names it, and the end of its first certificate to end (Unix s)."""

    what: str
    #: (Years 1 to 9999, as in X.509.)
    not_after: Annotated[int, msgspec.Meta(ge=-(1 << 36), le=1 << 38)]


class Certificates:
    """The certificates of one member."""

    def __init__(self, files: Sequence[tuple[str, Path]]) -> None:
        """`files`: flag and file."""
        self._files = files
        self._reading = asyncio.Lock()
        self._read: list[Certificate] = []
        self._at = float("-inf")

    async def known(self) -> list[Certificate]:
        """Return the certificates that can be read, as of `READ_EVERY` seconds ago or later."""
        async with self._reading:
            if self._files and time.monotonic() - self._at > READ_EVERY:
                self._read = await asyncio.to_thread(_read, self._files)
                self._at = time.monotonic()
            return self._read


def _read(files: Sequence[tuple[str, Path]]) -> list[Certificate]:
    from cryptography import x509  # takes long to load

    found = []
    for what, path in files:
        try:
            loaded = x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError) as error:
            log.info("a certificate was not read", extra={"fields": {"error": str(error)}})
            continue
        end = min(one.not_valid_after_utc for one in loaded)
        found.append(Certificate(what, int(end.timestamp())))
    return found
