"""Certificates: of a TLS handshake that trusts anything, and of files."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from rusd.ctl.gateway import Access, deadline

from .facts import Certificate


def of_address(url: str, access: Access) -> bytes | None:
    """Return the certificate (DER) that an https address shows. Nothing is sent after the
    handshake. Raises OSError.
    """
    parts = urlsplit(url)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if access.cert:
        context.load_cert_chain(access.cert, access.key)
    host = parts.hostname or "127.0.0.1"
    with (
        socket.create_connection((host, parts.port or 2379), access.dial_timeout) as connected,
        context.wrap_socket(
            connected, server_hostname=host, do_handshake_on_connect=False
        ) as secured,
        deadline(secured, access.timeout),
    ):
        secured.do_handshake()
        return secured.getpeercert(binary_form=True)


def described(where: str, certificate: bytes) -> Certificate:
    """Return what a certificate (DER or PEM) says. Raises ValueError."""
    from cryptography import x509

    pem = certificate.lstrip().startswith(b"-----")
    read = x509.load_pem_x509_certificate if pem else x509.load_der_x509_certificate
    try:
        found = read(certificate)
    except x509.InvalidVersion as error:
        raise ValueError(str(error)) from error
    return Certificate(
        where,
        found.subject.rfc4514_string(),
        found.not_valid_before_utc.timestamp(),
        found.not_valid_after_utc.timestamp(),
    )


def of_file(flag: str, path: str) -> Certificate:
    """Return what the first certificate of a file says. Raises OSError, ValueError."""
    return described(f"{flag} {path}", Path(path).read_bytes())
