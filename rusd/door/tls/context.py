"""Server contexts from etcd's TLS flags; they reload files that change.

    Config ── client_tls() ──▶ ClientTls ──┬── .context   for every https and unixs listener
                                           └── .admit()   after a handshake

Certificate, key and trusted authorities are read again at the first handshake after a change; if
they cannot be used, a warning is logged and the last good ones stay. A revocation list that cannot
be read admits no client, as in etcd.

Clients need a certificate if there is a trusted authority, with or without `--client-cert-auth`.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rusd.base.logs import get_logger
from rusd.config import Config
from rusd.config.tls import SUITES

if TYPE_CHECKING:
    from rusd.door.tls.client_certificates import ClientCertificatePolicy

log = get_logger(__name__)

#: Sessions of clients with certificates that may be resumed; OpenSSL keeps as many.
SESSIONS_AT_MOST = 20_480

VERSIONS = {"TLS1.2": ssl.TLSVersion.TLSv1_2, "TLS1.3": ssl.TLSVersion.TLSv1_3}


class TlsError(Exception):
    """The certificates cannot be used, so the member cannot start; one line that says why."""


@dataclass(frozen=True, kw_only=True)
class TlsOptions:
    """The TLS flags of one port; names of versions and cipher suites are Go's."""

    cert_file: Path
    key_file: Path
    trusted_ca_file: Path | None = None
    client_cert_auth: bool = False
    crl_file: Path | None = None
    #: Names or IP addresses of which a client certificate must hold one; empty: any certificate.
    allowed_hostnames: tuple[str, ...] = ()
    #: Common names of which a client certificate must have one; empty: any.
    allowed_common_names: tuple[str, ...] = ()
    #: Empty: OpenSSL's choice.
    cipher_suites: tuple[str, ...] = ()
    min_version: str = "TLS1.2"
    #: Empty: the newest there is.
    max_version: str = ""
    #: Protocols for ALPN, in order of preference.
    protocols: tuple[str, ...] = ("h2", "http/1.1")
    #: What the flags of the certificate begin with, for errors.
    flag_prefix: str = ""

    @property
    def verifies(self) -> bool:
        """Whether clients need a certificate."""
        return self.client_cert_auth or self.trusted_ca_file is not None

    @property
    def authorities(self) -> list[Path]:
        """Files of the trusted authorities; empty for those of the system."""
        return [] if self.trusted_ca_file is None else [self.trusted_ca_file]

    @property
    def certificates(self) -> list[tuple[str, Path]]:
        """The certificates of a context, after the flags that name them."""
        flag = f"--{self.flag_prefix}"
        named = [(f"{flag}cert-file", self.cert_file)]
        return named + [(f"{flag}trusted-ca-file", file) for file in self.authorities]

    @property
    def files(self) -> list[Path]:
        """The files of a context."""
        return [self.cert_file, self.key_file, *self.authorities]


def client_tls(config: Config) -> "ClientTls | None":
    """The TLS of a member's client and metrics URLs; None if no URL asks for it.

    With `--auto-tls` a missing certificate is made. Raises TlsError or OSError if a file cannot
    be used.
    """
    if not any(url.is_secure for url in (*config.client_urls, *config.listen_metrics_urls)):
        return None
    cert, key = Path(config.cert_file), Path(config.key_file)
    if not config.cert_file and not config.key_file:
        hosts = [url.host for url in config.client_urls]
        years = config.self_signed_cert_validity
        from rusd.door.tls.self_signed import self_signed  # see certificate_policy

        cert, key = self_signed(config.data_path / "fixtures" / "client", hosts, years)
    authorities, revoked = config.trusted_ca_file, config.client_crl_file
    return ClientTls(
        TlsOptions(
            cert_file=cert,
            key_file=key,
            trusted_ca_file=Path(authorities) if authorities else None,
            client_cert_auth=config.client_cert_auth,
            crl_file=Path(revoked) if revoked else None,
            allowed_hostnames=config.client_cert_allowed_hostname,
            cipher_suites=config.cipher_suites,
            min_version=config.tls_min_version,
            max_version=config.tls_max_version,
        )
    )


class ClientTls:
    """The server side of TLS on the client port."""

    def __init__(self, options: TlsOptions) -> None:
        """TlsError if a file cannot be used."""
        self._options = options
        self._tried = file_state(options.files)
        self._newest = server_context(options)
        self._trusted = file_state(options.authorities)
        #: Ids of the sessions that were verified by the current authorities.
        self._sessions: dict[bytes, None] = {}
        self._rules = certificate_policy(options)
        #: The context of every listener; each handshake switches to the newest certificates.
        self.context = server_context(options)
        self.context.sni_callback = self._on_hello

    @property
    def certificates(self) -> list[tuple[str, Path]]:
        """The certificates, after the flags that name them."""
        return self._options.certificates

    def speaking(self, *protocols: str) -> "ClientTls":
        """Return the same TLS for a listener of these ALPN protocols only."""
        return ClientTls(replace(self._options, protocols=protocols))

    @property
    def denies_some(self) -> bool:
        """Whether `admit` checks anything."""
        return self._rules is not None

    def admit(self, connection: ssl.SSLObject) -> None:
        """Check a client after its handshake. Raises an exception with the reason if it is
        refused.
        """
        if self._rules is None:
            return
        self._check_session(connection)
        self._rules.check(connection)

    def _check_session(self, connection: ssl.SSLObject) -> None:
        """Refuse sessions older than the authorities: OpenSSL resumes a session without verifying
        the certificate again.
        """
        session = connection.session
        if session is None:
            return
        if not connection.session_reused:
            self._sessions[session.id] = None
            if len(self._sessions) > SESSIONS_AT_MOST:
                del self._sessions[next(iter(self._sessions))]
        elif session.id not in self._sessions:
            raise ssl.SSLError("session older than the trusted authorities")

    def _on_hello(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """Switch to the newest certificates; called at every handshake before one is chosen."""
        self._refresh()
        connection.context = self._newest

    def _refresh(self) -> None:
        state = file_state(self._options.files)
        if state == self._tried:
            return
        self._tried = state
        try:
            self._newest = server_context(self._options)
        except TlsError as error:
            log.warning("changed certificates not used", extra={"fields": {"error": str(error)}})
        else:
            trusted = file_state(self._options.authorities)
            if trusted != self._trusted:
                self._trusted = trusted
                self._sessions.clear()
            log.info(
                "certificates read again",
                extra={"fields": {"cert-file": str(self._options.cert_file)}},
            )


def certificate_policy(options: TlsOptions) -> "ClientCertificatePolicy | None":
    """Return the policy for client certificates; None if clients need none."""
    if not options.verifies:
        return None
    # Here, so that a member without certificates of clients need not wait for `cryptography`.
    from rusd.door.tls.client_certificates import ClientCertificatePolicy

    try:
        return ClientCertificatePolicy(
            options.crl_file, options.allowed_hostnames, options.allowed_common_names
        )
    except (OSError, ValueError) as error:
        flag = "--peer-crl-file" if options.flag_prefix else "--client-crl-file"
        _fail(f"cannot read {flag} {options.crl_file}", error)


def server_context(options: TlsOptions) -> ssl.SSLContext:
    """A server context from the files as they are now. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if options.protocols:
        context.set_alpn_protocols(options.protocols)
    _choose(context, options)
    if options.verifies:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= (
            ssl.VERIFY_X509_PARTIAL_CHAIN
        )  # any trusted certificate ends a chain, as in Go
        # Every connection shows its certificate anew: it may have been revoked.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    _load(context, options, ssl.Purpose.CLIENT_AUTH)
    return context


def client_context(options: TlsOptions | None, *, verify: bool) -> ssl.SSLContext:
    """Return a context to dial with, from the files as they are now. Raises TlsError.

    None: no client certificate, authorities of the system. `verify` false: the server's certificate
    is not verified.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False  # as in Go
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as in Go
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context
    _choose(context, options)
    _load(context, options, ssl.Purpose.SERVER_AUTH)
    return context


def _choose(context: ssl.SSLContext, options: TlsOptions) -> None:
    """Set versions and cipher suites."""
    context.minimum_version = VERSIONS[options.min_version]
    if options.max_version:
        context.maximum_version = VERSIONS[options.max_version]
    if options.cipher_suites:
        _choose_ciphers(context, options.cipher_suites)


def _load(context: ssl.SSLContext, options: TlsOptions, purpose: ssl.Purpose) -> None:
    """Read the files, and trust the authorities for certificates of `purpose`."""
    flags = options.flag_prefix
    try:
        for path in options.files:
            with path.open("rb") as file:  # OpenSSL would not say which one is missing
                file.read(1)
        _load_certificate(context, options)
        if options.trusted_ca_file is not None:
            context.load_verify_locations(options.trusted_ca_file)
        elif options.verifies or purpose is ssl.Purpose.SERVER_AUTH:
            context.load_default_certs(purpose)  # by the authorities of the system, as in etcd
    except ssl.SSLError as error:
        flag = "--peer-trusted-ca-file" if flags else "--trusted-ca-file"
        _fail(f"cannot use {flag} {options.trusted_ca_file}", error)
    except OSError as error:
        _fail(f"cannot use {', '.join(map(str, options.files))}", error)


def _load_certificate(context: ssl.SSLContext, options: TlsOptions) -> None:
    cert, key, flags = options.cert_file, options.key_file, options.flag_prefix
    try:
        context.load_cert_chain(cert, key, password=_refuse_password)
    except ssl.SSLError as error:
        _fail(f"cannot use --{flags}cert-file {cert}, --{flags}key-file {key}", error)


def _choose_ciphers(context: ssl.SSLContext, names: Sequence[str]) -> None:
    below = [SUITES[name] for name in names if name in SUITES]
    if not below:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return
    try:
        context.set_ciphers(":".join(below))
    except ssl.SSLError:
        raise TlsError(
            f"none of --cipher-suites {','.join(names)} is available in {ssl.OPENSSL_VERSION}"
        ) from None


def _refuse_password() -> NoReturn:
    raise TlsError("the private key needs a password: etcd takes keys without one")


def _fail(what: str, error: Exception) -> NoReturn:
    """Raise TlsError with the reason of an OpenSSL or operating system error."""
    reason = str(error)
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "no certificate or key in PEM").replace("_", " ").lower()
    elif isinstance(error, OSError):
        said = str(error.strerror)
        reason = f"open {error.filename}: {said.lower()}" if error.filename else said
    raise TlsError(f"{what}: {reason}") from error


def file_state(files: Sequence[Path]) -> tuple[object, ...]:
    """Return a value that changes when one of the files is written, replaced or removed."""
    return tuple(_stamp(path) for path in files)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
