"""The flags of TLS on both ports: versions, cipher suites, contradictions.

Cipher suites are those that Go knows, by their IANA names; `SUITES` maps them to OpenSSL's names.
The three suites of TLS 1.3 cannot be chosen in Go or Python: they are accepted without effect.
Certificate files are read later, by the door (`door/tls`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rusd.config.config import Config

#: In their order.
VERSIONS = ("TLS1.2", "TLS1.3")

TLS13_SUITES = frozenset(
    ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
)

_PLAIN = {
    "RC4_128_SHA": "RC4-SHA",
    "3DES_EDE_CBC_SHA": "DES-CBC3-SHA",
    "AES_128_CBC_SHA": "AES128-SHA",
    "AES_256_CBC_SHA": "AES256-SHA",
    "AES_128_CBC_SHA256": "AES128-SHA256",
    "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
}
_CHACHA = dict.fromkeys(("CHACHA20_POLY1305_SHA256", "CHACHA20_POLY1305"), "CHACHA20-POLY1305")


def _table() -> dict[str, str]:
    found = {f"TLS_RSA_WITH_{name}": ours for name, ours in _PLAIN.items()}
    for kind in ("RSA", "ECDSA"):
        for name, ours in (_PLAIN | _CHACHA).items():
            found[f"TLS_ECDHE_{kind}_WITH_{name}"] = f"ECDHE-{kind}-{ours}"
    del found["TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA"]  # unknown to Go
    return found


#: Go's name -> OpenSSL's, of everything below TLS 1.3.
SUITES: dict[str, str] = _table()


def contradiction(config: Config) -> str | None:
    """Return why the flags cannot work together, in etcd's words; None if they can."""
    low, high = config.tls_min_version, config.tls_max_version
    for version in filter(None, (low, high)):
        if version not in VERSIONS:
            return f'unexpected TLS version "{version}" (must be one of: {", ".join(VERSIONS)})'
    if low and high and VERSIONS.index(low) > VERSIONS.index(high):
        return f"min version ({low}) is greater than max version ({high})"
    for name in config.cipher_suites:
        if name not in SUITES and name not in TLS13_SUITES:
            return f'unexpected TLS cipher suite "{name}"'
    if low == "TLS1.3" and config.cipher_suites:
        return "cipher suites cannot be configured when only TLS1.3 is enabled"
    return _without_certificate(config) or _peer_contradiction(config)


def _without_certificate(config: Config) -> str | None:
    """Return why an https URL has no certificate; None if every one has."""
    cert, key = config.cert_file, config.key_file
    for url in (*config.client_urls, *config.listen_metrics_urls):
        if not url.is_secure:
            continue
        if bool(cert) != bool(key):
            return f"KeyFile and CertFile must both be present[key: {key}, cert: {cert}]"
        if cert:
            continue
        if not config.auto_tls and url not in config.client_urls:
            return (
                "client TLS key/cert (--cert-file, --key-file) must be provided "
                "for metrics secure url"
            )
        if not config.auto_tls:
            return (
                "TLS key/cert (--cert-file, --key-file) must be provided "
                f"for client url {url} with HTTPS scheme"
            )
        if config.self_signed_cert_validity == 0:
            return "--self-signed-cert-validity is invalid, it should be greater than 0"
    return None


def _peer_contradiction(config: Config) -> str | None:
    """Return why peers cannot be served or dialled with TLS; None if they can."""
    cert, key = config.peer_cert_file, config.peer_key_file
    client_cert, client_key = config.peer_client_cert_file, config.peer_client_key_file
    names, hosts = config.peer_cert_allowed_cn, config.peer_cert_allowed_hostname
    secure = [url for url in config.listen_peer_urls if url.is_secure]
    if config.peer_auto_tls and not cert and not key:
        if config.self_signed_cert_validity == 0:
            return "--self-signed-cert-validity is invalid, it should be greater than 0"
    elif secure and not cert and not key:
        host, port = secure[0].address
        return f"cannot listen on TLS for {host}:{port}: KeyFile and CertFile are not presented"
    elif bool(cert) != bool(key):
        return f"KeyFile and CertFile must both be present[key: {key}, cert: {cert}]"
    if bool(client_cert) != bool(client_key):
        return (
            "ClientKeyFile and ClientCertFile must both be present or both absent: "
            f"key: {client_key}, cert: {client_cert}]"
        )
    if names and hosts:
        return (
            "AllowedCNs and AllowedHostnames are mutually exclusive "
            f"(cns={_quoted(names)}, hostnames={_quoted(hosts)})"
        )
    return None


def _quoted(names: tuple[str, ...]) -> str:
    return "[" + " ".join(f'"{name}"' for name in names) + "]"


def notes(config: Config) -> Iterator[str]:
    """Yield a warning, as etcd does, for each flag of TLS that has no effect here."""
    given = bool(config.cert_file or config.key_file)
    if config.auto_tls and given:
        yield "ignoring client auto TLS since certs given"
    for url in config.client_urls:
        if url.is_secure:
            continue
        if given or config.auto_tls:
            yield (
                "scheme is http or unix while key and cert files are present; "
                f"ignoring key and cert files for {url}"
            )
        if config.client_cert_auth:
            yield (
                "scheme is http or unix while --client-cert-auth is enabled; "
                f"ignoring client cert auth for this URL: {url}"
            )
    given = bool(config.peer_cert_file or config.peer_key_file)
    if config.peer_auto_tls and given:
        yield "ignoring peer auto TLS since certs given"
    elif config.peer_auto_tls and (config.peer_trusted_ca_file or config.peer_client_cert_auth):
        yield "--peer-auto-tls: certificates of peers are not verified; no authority counts"
    for url in config.listen_peer_urls:
        if url.is_secure:
            continue
        if given or config.peer_auto_tls:
            yield (
                "scheme is HTTP while key and cert files are present; "
                f"ignoring key and cert files for {url}"
            )
        if config.peer_client_cert_auth:
            yield (
                "scheme is HTTP while --peer-client-cert-auth is enabled; "
                f"ignoring client cert auth for this URL: {url}"
            )
