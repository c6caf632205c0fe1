"""Certificates that an authority would not write, though it may sign them."""

from cryptography import x509

#: Alternative names: a DNS name of two bytes that are no UTF-8.
UNREADABLE_NAMES = x509.UnrecognizedExtension(
    x509.SubjectAlternativeName.oid, bytes((0x30, 4, 0x82, 2, 0xFF, 0xFE))
)
