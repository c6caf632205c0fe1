"""TLS of the peer port: which files are refused, and from which address a certificate counts."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from cluster.certificates import Authority
from rusd.base.urls import Url
from rusd.config import Config
from rusd.door.tls.context import TlsError
from rusd.door.tls.peer import check_address, peer_tls


def configured(authority: Authority) -> Config:
    made = authority.peer_tls()
    return Config(
        listen_peer_urls=(Url("https://127.0.0.1:1"),),
        peer_cert_file=str(made.cert),
        peer_key_file=str(made.key),
        peer_trusted_ca_file=str(made.authority),
    )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_without_flags_nothing_is_served_and_the_authorities_of_the_system_count() -> None:
    tls = peer_tls(Config())
    assert tls.server is None
    assert tls.client().verify_mode is ssl.CERT_REQUIRED
    assert tls.client().check_hostname


def test_a_trusted_authority_alone_requires_certificates(authority: Authority) -> None:
    config = configured(authority)
    server = peer_tls(config).server
    assert server is not None and server.verify_mode is ssl.CERT_REQUIRED
    server = peer_tls(replace(config, peer_trusted_ca_file="")).server
    assert server is not None and server.verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize(
    "field", ["peer_cert_file", "peer_key_file", "peer_trusted_ca_file", "peer_crl_file"]
)
def test_a_file_that_is_missing_or_broken_is_refused_by_name(
    field: str, authority: Authority, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.pem"
    for path in (tmp_path / "absent.pem", broken):
        with pytest.raises(TlsError, match=str(path)):
            peer_tls(replace(configured(authority), **{field: str(path)}))  # type: ignore[arg-type]
        broken.write_text("nothing")


def test_a_missing_client_certificate_is_refused_at_start(
    authority: Authority, tmp_path: Path
) -> None:
    absent = str(tmp_path / "absent.pem")
    config = configured(authority)
    with pytest.raises(TlsError, match=absent):
        peer_tls(replace(config, peer_client_cert_file=absent, peer_client_key_file=absent))


def test_versions_and_suites_count_in_both_directions(authority: Authority) -> None:
    suite = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
    config = replace(configured(authority), tls_max_version="TLS1.2", cipher_suites=(suite,))
    tls = peer_tls(config)
    assert tls.server is not None
    for context in (tls.server, tls.client()):
        assert context.maximum_version is ssl.TLSVersion.TLSv1_2
        below = [each["name"] for each in context.get_ciphers() if each["protocol"] != "TLSv1.3"]
        assert below == ["ECDHE-ECDSA-AES128-GCM-SHA256"]


def test_dialling_uses_renewed_certificates_and_keeps_old_ones_if_they_are_broken(
    authority: Authority,
) -> None:
    config = configured(authority)
    tls = peer_tls(config)
    first = tls.client()
    assert tls.client() is first
    authority.peer_tls()
    second = tls.client()
    assert second is not first
    Path(config.peer_cert_file).write_text("nothing")
    assert tls.client() is second


def test_certificates_a_member_made_are_accepted_unproven(tmp_path: Path) -> None:
    urls = (Url("https://127.0.0.1:1"),)
    config = Config(data_dir=str(tmp_path), listen_peer_urls=urls, peer_auto_tls=True)
    assert peer_tls(config).client().verify_mode is ssl.CERT_NONE
    made = (tmp_path / "fixtures/peer/cert.pem").read_bytes()
    peer_tls(config)
    assert (tmp_path / "fixtures/peer/cert.pem").read_bytes() == made


@pytest.mark.parametrize(
    ("names", "host", "accepted"),
    [
        ([], "192.0.2.1", True),
        (["192.0.2.1"], "192.0.2.1", True),
        (["192.0.2.1"], "::ffff:192.0.2.1", True),
        (["192.0.2.1"], "192.0.2.2", False),
        (["2001:db8::1"], "2001:db8::1", True),
        (["localhost"], "127.0.0.1", True),
        (["localhost"], "192.0.2.1", False),
        (["192.0.2.1", "localhost"], "127.0.0.1", True),
        (["*.invalid"], "192.0.2.1", False),
        (["nowhere.invalid"], "127.0.0.1", False),
        (["192.0.2.1"], "", True),
    ],
)
def test_a_certificate_counts_from_the_addresses_it_names(
    names: list[str], host: str, accepted: bool, authority: Authority
) -> None:
    made = authority.issue("peer", names).cert.read_bytes()
    check = check_address(x509.load_pem_x509_certificate(made), host)
    if accepted:
        asyncio.run(check)
    else:
        with pytest.raises(ssl.SSLError):
            asyncio.run(check)
