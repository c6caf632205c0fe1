"""TLS on the peer port: contexts for both directions, and which verified peers are admitted.

    Config ── peer_tls() ──▶ PeerTls ──┬── .server         for https listeners; None: http only
                                       ├── .client()       for dialling an https peer URL
                                       ├── .check_server() after dialling
                                       ├── .admit()        after accepting
                                       └── .is_for()       whose certificate was admitted

As in etcd a dialled peer must have a certificate for the host of its URL, by the trusted
authorities. An accepted one needs a certificate if there is a trusted authority or
`--peer-client-cert-auth`, and comes from an address that the certificate names, if it names any.
The revocation list counts in both directions: one connection of a pair of members carries both.
With `--peer-auto-tls` certificates encrypt and prove nothing.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rusd.base.logs import get_logger
from rusd.config import Config
from rusd.door.tls.context import (
    TlsError,
    TlsOptions,
    certificate_policy,
    client_context,
    file_state,
    server_context,
)

if TYPE_CHECKING:
    from cryptography import x509

    from rusd.door.tls.client_certificates import ClientCertificatePolicy

log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class PeerTlsOptions:
    """The TLS flags of the peer port."""

    #: None: no certificate of this member; https peers can be dialled without one.
    server: TlsOptions | None
    #: Certificate and key to dial with; authorities, versions and suites.
    client: TlsOptions | None
    #: Whether a dialled peer must prove anything; not with certificates that members made alone.
    verify_server: bool = True
    skip_client_san: bool = False
    #: The address to dial from; empty: the system's choice.
    local_address: str = ""


def peer_tls(config: Config) -> "PeerTls":
    """The TLS of a member's peer URLs. With `--peer-auto-tls` a missing certificate is made.

    Raises TlsError or OSError if a file cannot be used.
    """
    cert, key = config.peer_cert_file, config.peer_key_file
    automatic = config.peer_auto_tls and not cert and not key
    if automatic:
        hosts = [url.host for url in config.listen_peer_urls]
        from rusd.door.tls.self_signed import self_signed  # `cryptography` takes long to load

        directory = config.data_path / "fixtures" / "peer"
        made = self_signed(directory, hosts, config.self_signed_cert_validity)
        cert, key = map(str, made)
    local = local_address(config)
    if not cert:
        return PeerTls(PeerTlsOptions(server=None, client=None, local_address=local))
    authority, revoked = config.peer_trusted_ca_file, config.peer_crl_file
    server = TlsOptions(
        cert_file=Path(cert),
        key_file=Path(key),
        trusted_ca_file=Path(authority) if authority and not automatic else None,
        client_cert_auth=config.peer_client_cert_auth and not automatic,
        crl_file=Path(revoked) if revoked and not automatic else None,
        allowed_hostnames=() if automatic else config.peer_cert_allowed_hostname,
        allowed_common_names=() if automatic else config.peer_cert_allowed_cn,
        cipher_suites=config.cipher_suites,
        min_version=config.tls_min_version,
        max_version=config.tls_max_version,
        protocols=(),
        flag_prefix="peer-",
    )
    client = server
    if config.peer_client_cert_file:
        client = replace(
            server,
            cert_file=Path(config.peer_client_cert_file),
            key_file=Path(config.peer_client_key_file),
            flag_prefix="peer-client-",
        )
    return PeerTls(
        PeerTlsOptions(
            server=server,
            client=client,
            verify_server=not automatic,
            skip_client_san=config.peer_skip_client_san_verification,
            local_address=local,
        )
    )


def local_address(config: Config) -> str:
    """The address that `--feature-gates=SetMemberLocalAddr=true` dials peers from: the first that
    this member advertises, since its certificate is for that one. Empty: the system's choice.
    """
    if not config.set_member_local_address:
        return ""
    for url in config.initial_advertise_peer_urls:
        try:
            address = ipaddress.ip_address(url.host)
        except ValueError:
            continue
        if not (address.is_loopback or address.is_unspecified):
            log.info("dials peers from its own address", extra={"fields": {"addr": url.host}})
            return url.host
    log.warning("advertises no address to dial peers from")
    return ""


class PeerTls:
    """Both sides of TLS between members; `rusd.raft.transport.tls.PeerTls` is its interface."""

    def __init__(self, options: PeerTlsOptions) -> None:
        """TlsError if a file cannot be used."""
        self._options = options
        self.local_address = options.local_address
        self._server: _Followed | None = None
        self._policy: ClientCertificatePolicy | None = None
        #: The context of every https listener; each handshake switches to the newest certificates.
        self.server: ssl.SSLContext | None = None
        if options.server is not None:
            server = options.server
            self._server = _Followed(server, lambda: server_context(server))
            self._policy = certificate_policy(server)
            self.server = server_context(server)
            self.server.sni_callback = self._on_hello
        client, verify = options.client, options.verify_server
        self._client = _Followed(client, lambda: client_context(client, verify=verify))

    @property
    def certificates(self) -> list[tuple[str, Path]]:
        """The certificates, after the flags that name them."""
        server, client = self._options.server, self._options.client
        found = [] if server is None else server.certificates
        if client is not None and client is not server:
            found += client.certificates[:1]  # (The authorities are the same.)
        return found

    def client(self) -> ssl.SSLContext:
        """The context for one more connection to a peer."""
        return self._client.newest()

    def check_server(self, connection: ssl.SSLObject) -> None:
        """Check a dialled peer after the handshake; raises, with the reason, if it is refused."""
        if self._policy is not None:
            self._policy.check(connection)

    async def admit(self, connection: ssl.SSLObject, host: str) -> None:
        """Check an accepted peer at address `host` after the handshake.

        Raises an exception with the reason if it is refused.
        """
        if connection.session_reused:
            # Members never resume: OpenSSL would not verify the certificate again.
            raise _refused("a resumed session")
        leaf = connection.getpeercert(binary_form=True)
        if leaf is None:
            return
        if self._policy is not None:
            self._policy.check_names(connection)
        if not self._options.skip_client_san:
            from cryptography import x509  # loaded with the policy

            await check_address(x509.load_der_x509_certificate(leaf), host)
        if self._policy is not None:
            self._policy.check_revoked(connection)

    def is_for(self, connection: ssl.SSLObject, host: str) -> bool:
        """Return whether an admitted peer has shown a verified certificate for `host`."""
        leaf = connection.getpeercert(binary_form=True)
        if self._policy is None or leaf is None:
            return False
        from cryptography import x509  # loaded with the policy

        from rusd.door.tls.client_certificates import matches

        return matches(x509.load_der_x509_certificate(leaf), host)

    def _on_hello(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        assert self._server is not None
        connection.context = self._server.newest()


class _Followed:
    """A context that is rebuilt when its files have changed."""

    def __init__(self, options: TlsOptions | None, build: Callable[[], ssl.SSLContext]) -> None:
        self._files = options.files if options is not None else []
        self._build = build
        self._tried = file_state(self._files)
        self._context = build()

    def newest(self) -> ssl.SSLContext:
        state = file_state(self._files)
        if state != self._tried:
            self._tried = state
            fields = {"files": [str(path) for path in self._files]}
            try:
                self._context = self._build()
            except TlsError as error:
                fields["error"] = [str(error)]
                log.warning("changed peer certificates not used", extra={"fields": fields})
            else:
                log.info("peer certificates read again", extra={"fields": fields})
        return self._context


async def check_address(certificate: "x509.Certificate", host: str) -> None:
    """Check that a certificate is valid for `host`. Raises ssl.SSLError.

    A certificate passes without names, with the address, or with a name that resolves to it.
    """
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    addresses = names.get_values_for_type(x509.IPAddress)
    domains = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    try:
        remote = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # a unix socket has no address
        return
    remote = getattr(remote, "ipv4_mapped", None) or remote
    if remote in addresses or not (addresses or domains):
        return
    if not domains:
        valid = ", ".join(map(str, addresses))
        raise _refused(f"x509: certificate is valid for {valid}, not {remote}")
    if not await _resolves(str(remote), domains):
        quoted = "[" + " ".join(f'"{name}"' for name in domains) + "]"
        raise _refused(f'tls: "{remote}" does not match any of DNSNames {quoted}')


def _refused(reason: str) -> ssl.SSLError:
    return ssl.SSLError(ssl.SSL_ERROR_SSL, reason)  # with a number its text is the reason alone


async def _resolves(address: str, domains: Sequence[str]) -> bool:
    """Return whether an address has one of these names, by reverse or forward lookup."""
    loop = asyncio.get_running_loop()
    try:
        own, _ = await loop.getnameinfo((address, 0), socket.NI_NAMEREQD)
    except OSError:
        own = ""
    own = own.lower().removesuffix(".")
    if own in domains or any(own.endswith(each[1:]) for each in domains if each[:2] == "*."):
        return True
    for domain in domains:
        if domain.startswith("*."):
            continue
        try:
            found = await loop.getaddrinfo(domain, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            continue
        if any(each[4][0] == address for each in found):
            return True
    return False
