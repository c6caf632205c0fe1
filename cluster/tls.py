"""TLS of a cluster under test: certificates for clients and for connections between members."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import grpc


class Tls(NamedTuple):
    """PEM files. `cluster.certificates.Authority.tls` makes them."""

    #: Certificate and key of every member.
    cert: Path
    key: Path
    #: The authority that signed it.
    authority: Path
    #: Client certificate and key of the launcher.
    client_cert: Path
    client_key: Path
    #: Members accept only clients with a certificate of the authority.
    verify_clients: bool = False

    def flags(self) -> list[str]:
        """Return the flags of a member."""
        served = [f"--cert-file={self.cert}", f"--key-file={self.key}"]
        verified = [f"--trusted-ca-file={self.authority}", "--client-cert-auth"]
        return served + (verified if self.verify_clients else [])

    def credentials(self) -> grpc.ChannelCredentials:
        """Return the credentials of a grpcio client."""
        return grpc.ssl_channel_credentials(
            self.authority.read_bytes(),
            self.client_key.read_bytes(),
            self.client_cert.read_bytes(),
        )


class PeerTls(NamedTuple):
    """PEM files for TLS between members. `cluster.certificates.Authority.peer_tls` makes them."""

    #: Certificate and key, used as server and as client.
    cert: Path
    key: Path
    #: The authority of all members.
    authority: Path

    def flags(self) -> list[str]:
        """Return the flags of a member."""
        return [
            f"--peer-cert-file={self.cert}",
            f"--peer-key-file={self.key}",
            f"--peer-trusted-ca-file={self.authority}",
            "--peer-client-cert-auth",
        ]
