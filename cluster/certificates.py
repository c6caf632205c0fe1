"""Certificates for clusters under test, issued by an authority with its own directory.

    authority = Authority(tmp_path / "tls")
    with LocalCluster(3, tls=authority.tls()) as cluster: ...
    mallory = Authority(tmp_path / "tls", "stranger").issue("mallory")

Keys are unencrypted (mode 0600), and live for a day unless the caller says otherwise: for tests and
trials.
"""

import ipaddress
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .tls import PeerTls, Tls

DAY = timedelta(days=1)


class Identity(NamedTuple):
    """A certificate and its key, as PEM files."""

    cert: Path
    key: Path
    serial: int


class Authority:
    """A certificate authority."""

    def __init__(self, directory: Path, name: str = "authority", *, valid: timedelta = DAY) -> None:
        """Writes to `directory`, which may hold several authorities of different names."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._name = _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(self._name, self._name, self._key, valid).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        #: CA certificate for the trust store of a client or server.
        self.cert = directory / f"{name}.crt"
        self.cert.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))

    def issue(
        self,
        name: str,
        hosts: Iterable[str] = (),
        *,
        valid: timedelta = DAY,
        file: str | None = None,
        extensions: Iterable[x509.ExtensionType] = (),
        organization: str | None = None,
    ) -> Identity:
        """Issue a certificate for clients and servers: common name (may be empty), DNS names and
        addresses.

        `valid` negative: expired. `file`: the name of its files, if not `name`; what they hold is
        replaced as a whole, key first. `extensions`: further ones. `organization`: Kubernetes
        takes it for the group of a user.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            _builder(_name(name, organization), self._name, key, valid)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        )
        if names := [_general_name(host) for host in hosts]:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        for each in extensions:
            builder = builder.add_extension(each, critical=False)
        made = builder.sign(self._key, hashes.SHA256())
        stem = self._directory / (file or name)
        identity = Identity(stem.with_suffix(".crt"), stem.with_suffix(".key"), made.serial_number)
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        _replace(identity.key, secret, mode=0o600)
        _replace(identity.cert, _pem(made))
        return identity

    def tls(self, *, verify_clients: bool = False) -> Tls:
        """Issue certificates for members on this machine and for the launcher."""
        server = self.issue("server", ["127.0.0.1", "::1", "localhost"])
        launcher = self.issue("launcher")
        files = (server.cert, server.key, self.cert, launcher.cert, launcher.key)
        return Tls(*files, verify_clients)

    def peer_tls(self, name: str = "peer") -> PeerTls:
        """Issue a certificate for connections between members on this machine."""
        identity = self.issue(name, ["127.0.0.1", "::1", "localhost"])
        return PeerTls(identity.cert, identity.key, self.cert)

    def revoke(self, *identities: Identity, file: str = "revoked") -> Path:
        """Write a revocation list (DER, the format that etcd reads) of exactly these."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._name)
            .last_update(now)
            .next_update(now + DAY)
        )
        for identity in identities:
            entry = x509.RevokedCertificateBuilder(identity.serial, now)
            builder = builder.add_revoked_certificate(entry.build())
        path = self._directory / f"{file}.crl"
        made = builder.sign(self._key, hashes.SHA256())
        _replace(path, made.public_bytes(serialization.Encoding.DER))
        return path


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, valid: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * DAY)
        .not_valid_after(now + valid)
    )


def _name(common: str, organization: str | None = None) -> x509.Name:
    named = {NameOID.ORGANIZATION_NAME: organization, NameOID.COMMON_NAME: common}
    return x509.Name([x509.NameAttribute(kind, text) for kind, text in named.items() if text])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _replace(path: Path, content: bytes, mode: int = 0o666) -> None:
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    new.replace(path)
