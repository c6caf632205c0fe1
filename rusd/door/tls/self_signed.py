"""The certificate of `--auto-tls`: made once, self-signed, kept in the data directory.

It encrypts and proves no identity: clients must be told to trust it.
"""

import ipaddress
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rusd.base import durable
from rusd.base.logs import get_logger

log = get_logger(__name__)


def self_signed(directory: Path, hosts: Iterable[str], years: int) -> tuple[Path, Path]:
    """Certificate and key (`cert.pem`, `key.pem`) in `directory`; existing ones are kept.

    `hosts`: names and addresses of the server. Raises OSError if it cannot be written.
    """
    cert, key = directory / "cert.pem", directory / "key.pem"
    if cert.exists() and key.exists():
        return cert, key
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret = ec.generate_private_key(ec.SECP256R1())
    ends = datetime.now(UTC) + timedelta(days=365 * years)
    made = _certificate(secret, list(dict.fromkeys(hosts)), ends)
    plain = serialization.NoEncryption()
    pem, classic = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    durable.write(key, secret.private_bytes(pem, classic, plain), 0o600)
    durable.write(cert, made.public_bytes(pem), 0o644)
    log.warning(
        "automatically generate certificates",
        extra={"fields": {"certificate-validity-bound-not-after": ends.isoformat()}},
    )
    return cert, key


def _certificate(
    secret: ec.EllipticCurvePrivateKey, hosts: list[str], ends: datetime
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "etcd")])
    usage = dict.fromkeys(
        (
            "content_commitment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(minutes=1))
        .not_valid_after(ends)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_encipherment=True, **usage), critical=True
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if names := [_general_name(host) for host in hosts if host]:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(secret, hashes.SHA256())


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
