"""From etcd's TLS flags to a server context that follows its files.

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
    """The TLS flags of the client port; names of versions and cipher suites are Go's."""

    cert_file: Path
    key_file: Path
    trusted_ca_file: Path | None = None
    client_cert_auth: bool = False
    crl_file: Path | None = None
    #: Names or IP addresses of which a client certificate must hold one; empty: any certificate.
    allowed_hostnames: tuple[str, ...] = ()
    #: Empty: OpenSSL's choice.
    cipher_suites: tuple[str, ...] = ()
    min_version: str = "TLS1.2"
    #: Empty: the newest there is.
    max_version: str = ""
    #: Protocols for ALPN, in order of preference.
    protocols: tuple[str, ...] = ("h2", "http/1.1")

    @property
    def verifies(self) -> bool:
        """Whether clients need a certificate."""
        return self.client_cert_auth or self.trusted_ca_file is not None

    @property
    def authorities(self) -> list[Path]:
        """Files of the trusted authorities; empty for those of the system."""
        return [] if self.trusted_ca_file is None else [self.trusted_ca_file]

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
        from rusd.door.tls.self_signed import self_signed  # see _rules

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
        self._tried = _state(options.files)
        self._newest = _context(options)
        self._trusted = _state(options.authorities)
        #: Ids of the sessions that were verified by the current authorities.
        self._sessions: dict[bytes, None] = {}
        self._rules = _rules(options)
        #: The context of every listener; each handshake switches to the newest certificates.
        self.context = _context(options)
        self.context.sni_callback = self._on_hello

    def speaking(self, *protocols: str) -> "ClientTls":
        """The same TLS for a listener of these ALPN protocols only."""
        return ClientTls(replace(self._options, protocols=protocols))

    @property
    def denies_some(self) -> bool:
        """Whether `admit` checks anything."""
        return self._rules is not None

    def admit(self, connection: ssl.SSLObject) -> None:
        """Check a client after its handshake; raises, with the reason, if it is refused."""
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
        state = _state(self._options.files)
        if state == self._tried:
            return
        self._tried = state
        try:
            self._newest = _context(self._options)
        except TlsError as error:
            log.warning("changed certificates not used", extra={"fields": {"error": str(error)}})
        else:
            trusted = _state(self._options.authorities)
            if trusted != self._trusted:
                self._trusted = trusted
                self._sessions.clear()
            log.info(
                "certificates read again",
                extra={"fields": {"cert-file": str(self._options.cert_file)}},
            )


def _rules(options: TlsOptions) -> "ClientCertificatePolicy | None":
    """None: clients need no certificate."""
    if not options.verifies:
        return None
    # Here, so that a member without certificates of clients need not wait for `cryptography`.
    from rusd.door.tls.client_certificates import ClientCertificatePolicy

    try:
        return ClientCertificatePolicy(options.crl_file, options.allowed_hostnames)
    except (OSError, ValueError) as error:
        _fail(f"cannot read --client-crl-file {options.crl_file}", error)


def _context(options: TlsOptions) -> ssl.SSLContext:
    """A server context from the files as they are now. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(options.protocols)
    context.minimum_version = VERSIONS[options.min_version]
    if options.max_version:
        context.maximum_version = VERSIONS[options.max_version]
    if options.cipher_suites:
        _choose_ciphers(context, options.cipher_suites)
    if options.verifies:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= (
            ssl.VERIFY_X509_PARTIAL_CHAIN
        )  # any trusted certificate ends a chain, as in Go
        # Every connection shows its certificate anew: it may have been revoked.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    try:
        _load(context, options)
    except OSError as error:
        _fail(f"cannot use {', '.join(map(str, options.files))}", error)
    return context


def _load(context: ssl.SSLContext, options: TlsOptions) -> None:
    for path in options.files:
        with path.open("rb") as file:  # OpenSSL would not say which one is missing
            file.read(1)
    try:
        context.load_cert_chain(options.cert_file, options.key_file, password=_refuse_password)
    except ssl.SSLError as error:
        _fail(f"cannot use --cert-file {options.cert_file}, --key-file {options.key_file}", error)
    if options.trusted_ca_file is None:
        if options.verifies:  # by the authorities of the system, as in etcd
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        return
    try:
        context.load_verify_locations(options.trusted_ca_file)
    except ssl.SSLError as error:
        _fail(f"cannot use --trusted-ca-file {options.trusted_ca_file}", error)


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
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    raise TlsError(f"{what}: {reason}") from error


def _state(files: Sequence[Path]) -> tuple[object, ...]:
    """Changes when one of the files is written, replaced or removed."""
    return tuple(_stamp(path) for path in files)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
