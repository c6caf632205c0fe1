"""From flags to a server context: errors at start, what is negotiated, self-signed certificates."""

from __future__ import annotations

import ssl
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from cluster.certificates import Authority, Identity
from rusd.config import Config
from rusd.config.tls import SUITES
from rusd.door.tls.client_certificates import matches
from rusd.door.tls.context import ClientTls, TlsError, TlsOptions, client_tls

HTTPS = ("https://127.0.0.1:2379",)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls")


@pytest.fixture
def server(authority: Authority) -> Identity:
    return authority.issue("server", ["127.0.0.1", "localhost"])


def options(server: Identity, **more: Any) -> TlsOptions:
    return TlsOptions(cert_file=server.cert, key_file=server.key, **more)


def handshake(tls: ClientTls, client: ssl.SSLContext) -> ssl.SSLObject:
    """Both sides in memory; the client's, once both agree. ssl.SSLError if they do not."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = tls.context.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    waiting = [theirs, ours]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
    return theirs


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.cert)


# -- what is refused at start --------------------------------------------------------------------


def refusal(options: TlsOptions) -> str:
    with pytest.raises(TlsError) as caught:
        ClientTls(options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("missing", ["cert_file", "key_file", "trusted_ca_file", "crl_file"])
def test_a_file_that_is_not_there_is_named(server: Identity, missing: str) -> None:
    files: dict[str, Any] = {"cert_file": server.cert, "key_file": server.key}
    files["client_cert_auth"] = True
    text = refusal(TlsOptions(**files | {missing: Path("/nowhere/x.pem")}))
    assert text.endswith("open /nowhere/x.pem: no such file or directory")


@pytest.mark.parametrize("broken", ["cert_file", "key_file", "trusted_ca_file", "crl_file"])
def test_a_file_that_holds_something_else_is_named(
    tmp_path: Path, server: Identity, broken: str
) -> None:
    path = tmp_path / "junk.pem"
    path.write_text("junk")
    files: dict[str, Any] = {"cert_file": server.cert, "key_file": server.key}
    files["client_cert_auth"] = True
    assert str(path) in refusal(TlsOptions(**files | {broken: path}))


def test_a_key_of_another_certificate_is_refused(authority: Authority, server: Identity) -> None:
    other = authority.issue("other")
    text = refusal(TlsOptions(cert_file=server.cert, key_file=other.key))
    assert text.endswith("key values mismatch")


def test_a_key_with_a_password_is_refused_instead_of_asking_for_it(
    tmp_path: Path, server: Identity
) -> None:
    locked = tmp_path / "locked.key"
    command = ["openssl", "ec", "-aes128", "-passout", "pass:secret", "-in"]
    subprocess.run([*command, str(server.key), "-out", str(locked)], check=True, timeout=30)
    text = refusal(TlsOptions(cert_file=server.cert, key_file=locked))
    assert "needs a password" in text


# -- what is agreed on ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "client", "agreed"),
    [
        ("TLS1.2", "", ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
        ("TLS1.2", "", ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
        ("TLS1.2", "TLS1.2", ssl.TLSVersion.TLSv1_3, "TLSv1.2"),
        ("TLS1.3", "TLS1.3", ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
        ("TLS1.3", "", ssl.TLSVersion.TLSv1_2, None),
    ],
)
def test_versions_are_those_of_the_flags(
    authority: Authority,
    server: Identity,
    low: str,
    high: str,
    client: ssl.TLSVersion,
    agreed: str | None,
) -> None:
    tls = ClientTls(options(server, min_version=low, max_version=high))
    context = trusting(authority)
    context.maximum_version = client
    if agreed is None:
        with pytest.raises(ssl.SSLError):
            handshake(tls, context)
    else:
        assert handshake(tls, context).version() == agreed


def test_cipher_suites_are_chosen_by_their_names_in_go(
    authority: Authority, server: Identity
) -> None:
    name = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    tls = ClientTls(options(server, cipher_suites=(name,), max_version="TLS1.2"))
    chosen = handshake(tls, trusting(authority)).cipher()
    assert chosen is not None
    assert chosen[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
    other = trusting(authority)
    other.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    with pytest.raises(ssl.SSLError):
        handshake(tls, other)


def test_cipher_suites_of_tls_13_alone_leave_nothing_below_it(
    authority: Authority, server: Identity
) -> None:
    tls = ClientTls(options(server, cipher_suites=("TLS_AES_128_GCM_SHA256",)))
    assert handshake(tls, trusting(authority)).version() == "TLSv1.3"
    old = trusting(authority)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        handshake(tls, old)


def test_a_choice_of_cipher_suites_openssl_has_none_of_is_refused(server: Identity) -> None:
    text = refusal(options(server, cipher_suites=("TLS_RSA_WITH_RC4_128_SHA",)))
    assert text.startswith("none of --cipher-suites TLS_RSA_WITH_RC4_128_SHA is available")


def test_every_modern_cipher_suite_has_a_name_openssl_knows() -> None:
    known = {each["name"] for each in ssl.create_default_context().get_ciphers()}
    modern = {
        ours
        for name, ours in SUITES.items()
        if "ECDHE" in name and ("GCM" in name or "POLY" in name)
    }
    assert len(modern) == 6
    assert modern <= known


def test_clients_need_no_certificate_unless_there_is_a_trusted_authority(
    authority: Authority, server: Identity
) -> None:
    assert ClientTls(options(server)).context.verify_mode is ssl.CERT_NONE
    for asks in ({"trusted_ca_file": authority.cert}, {"client_cert_auth": True}):
        assert ClientTls(options(server, **asks)).context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("sans", "name", "good"),
    [
        (["a.example.org"], "a.example.org", True),
        (["a.example.org"], "A.Example.ORG", True),
        (["A.example.org"], "a.example.org.", True),
        (["*.example.org"], "a.example.org", True),
        (["*.example.org"], "a.b.example.org", False),
        (["*.example.org"], "example.org", False),
        (["a.example.org"], "b.example.org", False),
        (["10.0.0.1"], "10.0.0.1", True),
        (["10.0.0.1"], "10.0.0.2", False),
        (["::1"], "[::1]", True),
        (["a.example.org"], "10.0.0.1", False),
        ([], "common", False),
    ],
)
def test_a_certificate_is_for_the_names_among_its_sans(
    authority: Authority, sans: list[str], name: str, good: bool
) -> None:
    identity = authority.issue("common", sans)
    assert matches(x509.load_pem_x509_certificate(identity.cert.read_bytes()), name) is good


# -- from a configuration ------------------------------------------------------------------------


def test_without_a_secure_url_no_file_is_looked_at() -> None:
    assert client_tls(Config(cert_file="/nowhere", key_file="/nowhere", auto_tls=True)) is None


@pytest.mark.parametrize(
    "where",
    ["listen_client_urls", "listen_client_http_urls", "listen_metrics_urls"],
)
def test_one_secure_url_is_enough(server: Identity, where: str) -> None:
    files = {"cert_file": str(server.cert), "key_file": str(server.key)}
    assert client_tls(Config(**{where: HTTPS}, **files)) is not None  # type: ignore[arg-type]


def test_every_flag_of_tls_arrives(authority: Authority, server: Identity) -> None:
    config = Config(
        listen_client_urls=HTTPS,
        cert_file=str(server.cert),
        key_file=str(server.key),
        trusted_ca_file=str(authority.cert),
        client_crl_file=str(authority.revoke()),
        client_cert_allowed_hostname=("a",),
        cipher_suites=("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",),
        tls_max_version="TLS1.2",
    )
    tls = client_tls(config)
    assert tls is not None
    context = tls.context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.maximum_version is ssl.TLSVersion.TLSv1_2
    below = [each["name"] for each in context.get_ciphers() if each["protocol"] != "TLSv1.3"]
    assert below == ["ECDHE-ECDSA-AES128-GCM-SHA256"]


# -- certificates made by itself -----------------------------------------------------------------


def automatic(directory: Path, **more: Any) -> Config:
    urls = ("https://127.0.0.1:2379", "https://localhost:2379")
    return Config(data_dir=str(directory), listen_client_urls=urls, auto_tls=True, **more)


def made(directory: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / "fixtures/client/cert.pem").read_bytes())


def test_a_certificate_is_made_for_the_hosts_of_the_client_urls(tmp_path: Path) -> None:
    tls = client_tls(automatic(tmp_path, self_signed_cert_validity=3))
    assert tls is not None
    certificate = made(tmp_path)
    assert matches(certificate, "127.0.0.1")
    assert matches(certificate, "localhost")
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=3 * 365 - 1) < left <= timedelta(days=3 * 365)
    context = ssl.create_default_context(cafile=tmp_path / "fixtures/client/cert.pem")
    handshake(tls, context)


def test_it_is_kept_for_the_next_start(tmp_path: Path) -> None:
    client_tls(automatic(tmp_path))
    first = made(tmp_path)
    client_tls(automatic(tmp_path))
    assert made(tmp_path) == first


def test_half_of_it_is_made_anew(tmp_path: Path) -> None:
    client_tls(automatic(tmp_path))
    first = made(tmp_path)
    (tmp_path / "fixtures/client/cert.pem").unlink()
    client_tls(automatic(tmp_path))
    assert made(tmp_path) != first


def test_only_the_owner_may_read_the_key(tmp_path: Path) -> None:
    client_tls(automatic(tmp_path))
    mode = (tmp_path / "fixtures/client/key.pem").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_given_certificates_come_before_automatic_ones(tmp_path: Path, server: Identity) -> None:
    client_tls(automatic(tmp_path, cert_file=str(server.cert), key_file=str(server.key)))
    assert not (tmp_path / "fixtures").exists()
