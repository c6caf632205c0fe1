"""A certificate revocation list: serial numbers that are refused.

As in etcd the list applies to all certificates, whichever authority signed the list or them. It is
read again when the file changes.
"""

from pathlib import Path

from cryptography import x509

_PEM = b"-----BEGIN"


class RevocationList:
    """The serial numbers in one file (DER, or PEM)."""

    def __init__(self, path: Path) -> None:
        """OSError if it cannot be read, ValueError if it is no revocation list."""
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._serials: frozenset[int] = frozenset()
        self.refresh()

    def __contains__(self, serial: int) -> bool:
        return serial in self._serials

    def refresh(self) -> None:
        """Read the file if it has changed. Raises OSError or ValueError until it can be read
        again.
        """
        found = self._path.stat()
        seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        if seen == self._seen:
            return
        self._seen = ()
        raw = self._path.read_bytes()
        load = x509.load_pem_x509_crl if raw.startswith(_PEM) else x509.load_der_x509_crl
        self._serials = frozenset(entry.serial_number for entry in load(raw))
        self._seen = seen
