"""Admission of clients with a verified certificate: none that is revoked, only allowed names.

TLS has checked signatures, dates and purpose before. The certificates are written by clients: what
cannot be read is a reason to refuse.
"""

import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from rusd.door.tls.revocation import RevocationList


class Denied(Exception):
    """A client with a valid certificate is refused; the text says why."""


class ClientCertificatePolicy:
    """Requirements of the flags for a client certificate, beyond a trusted signature."""

    def __init__(
        self,
        crl_file: Path | None,
        allowed_hostnames: Sequence[str],
        allowed_common_names: Sequence[str] = (),
    ) -> None:
        """OSError or ValueError if there is a revocation list that cannot be read."""
        self._revoked = RevocationList(crl_file) if crl_file is not None else None
        self._hostnames = tuple(allowed_hostnames)
        self._common_names = frozenset(allowed_common_names)

    def check(self, connection: ssl.SSLObject) -> None:
        """Check a client after its handshake. Raises Denied. A client without a certificate
        passes.
        """
        self.check_revoked(connection)
        self.check_names(connection)

    def check_revoked(self, connection: ssl.SSLObject) -> None:
        """Check the client's certificates against the revocation list. Raises Denied."""
        if self._revoked is None:
            return
        leaf = connection.getpeercert(binary_form=True)
        if leaf is not None:
            self._check_revoked(self._revoked, {leaf, *_sent(connection)})

    def check_names(self, connection: ssl.SSLObject) -> None:
        """Check the names in the certificate. Raises Denied."""
        if not self._hostnames and not self._common_names:
            return
        leaf = connection.getpeercert(binary_form=True)
        if leaf is None:
            return
        certificate = x509.load_der_x509_certificate(leaf)
        if self._hostnames and not any(matches(certificate, name) for name in self._hostnames):
            raise Denied("client certificate authentication failed")
        if self._common_names and common_name(certificate) not in self._common_names:
            raise Denied("client certificate authentication failed")

    def _check_revoked(self, revoked: RevocationList, chain: set[bytes]) -> None:
        try:
            revoked.refresh()
        except (OSError, ValueError) as error:
            raise Denied(f"cannot read the revocation list: {error}") from error
        for encoded in chain:
            serial = x509.load_der_x509_certificate(encoded).serial_number
            if serial in revoked:
                raise Denied(f"certificate serial {serial:x} revoked")


def matches(certificate: x509.Certificate, name: str) -> bool:
    """Return whether a certificate is for `name`: an IP address or a host name among its SANs.

    A star stands for the whole first label. Common names do not count.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        wanted = name.lower().removesuffix(".")
        wild = "*." + wanted.partition(".")[2]
        found = {each.lower().removesuffix(".") for each in names.get_values_for_type(x509.DNSName)}
        return wanted in found or wild in found
    return address in names.get_values_for_type(x509.IPAddress)


def common_name(certificate: x509.Certificate) -> str:
    """Return the common name of a certificate, the last if it has several (as in Go); "" without
    one.
    """
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[-1].value) if names else ""


def _sent(connection: ssl.SSLObject) -> list[bytes]:
    """Return the certificates a client has sent, in DER (a public method since Python 3.13)."""
    inner: Any = connection
    if hasattr(inner, "get_unverified_chain"):
        return list(inner.get_unverified_chain())
    chain = inner._sslobj.get_unverified_chain() or ()
    der = 2  # ENCODING_DER of the module behind `ssl`
    return [each.public_bytes(der) for each in chain]
