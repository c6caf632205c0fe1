"""TLS of the client port, and its HTTP listener: which flags go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from rusd.config.config import Config, ConfigError
from rusd.config.load import Loaded, load, parse_arguments

HTTPS = ("--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://h:1")
SHOUTED = ("--listen-client-urls=HTTPS://127.0.0.1:1", "--advertise-client-urls=https://h:1")
HTTP = ("--listen-client-urls=http://127.0.0.1:1", "--advertise-client-urls=http://h:1")
GIVEN = ("--cert-file=c", "--key-file=k")


def loaded(*argv: str) -> Loaded:
    return load(parse_arguments(argv), {})


def refusal(*argv: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(*argv)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def from_yaml(tmp_path: Path, text: str) -> Loaded:
    path = tmp_path / "etcd.yaml"
    path.write_text(text)
    return loaded("--config-file", str(path))


def test_every_flag_is_read() -> None:
    found = loaded(
        *HTTPS,
        *GIVEN,
        "--client-cert-auth",
        "--trusted-ca-file=t",
        "--client-crl-file=r",
        "--client-cert-allowed-hostname=a,b",
        "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_AES_128_GCM_SHA256",
        "--tls-min-version=TLS1.2",
        "--tls-max-version=TLS1.3",
        "--self-signed-cert-validity=2",
    )
    config = found.config
    assert (config.cert_file, config.key_file) == ("c", "k")
    assert (config.client_cert_auth, config.trusted_ca_file) == (True, "t")
    assert (config.client_crl_file, config.client_cert_allowed_hostname) == ("r", ("a", "b"))
    assert config.cipher_suites[1] == "TLS_AES_128_GCM_SHA256"
    assert (config.tls_min_version, config.tls_max_version) == ("TLS1.2", "TLS1.3")
    assert config.self_signed_cert_validity == 2
    assert found.notes == ()


def test_variables_stand_for_flags_of_tls_as_well() -> None:
    environ = {"ETCD_CERT_FILE": "c", "ETCD_KEY_FILE": "k", "ETCD_CLIENT_CERT_AUTH": "true"}
    config = load(parse_arguments(HTTPS), environ).config
    assert (config.cert_file, config.key_file, config.client_cert_auth) == ("c", "k", True)


def test_a_file_has_a_section_for_the_tls_of_clients(tmp_path: Path) -> None:
    config = from_yaml(
        tmp_path,
        """
        listen-client-urls: https://127.0.0.1:1
        advertise-client-urls: https://h:1
        cipher-suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
        tls-max-version: TLS1.2
        client-transport-security:
          cert-file: c
          key-file: k
          client-cert-auth: true
          trusted-ca-file: t
          auto-tls: false
          allowed-hostname: [a, b]
        """,
    ).config
    assert (config.cert_file, config.key_file, config.trusted_ca_file) == ("c", "k", "t")
    assert config.client_cert_auth
    assert config.client_cert_allowed_hostname == ("a", "b")
    assert (len(config.cipher_suites), config.tls_max_version) == (1, "TLS1.2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("client-transport-security: {cert-file: 5.5}", "wrong type"),
        ("client-transport-security: {auto-tls: 'yes'}", "must be true or false"),
        ("client-transport-security: {allowed-cn: [a]}", "does not support this yet"),
        ("client-transport-security: {nonsense: a}", "does not support this yet"),
        ("client-transport-security: [a]", "invalid client-transport-security"),
    ],
)
def test_a_section_that_cannot_be_honoured_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        from_yaml(tmp_path, text)


# The texts of the following refusals are those etcd 3.5.1 ends with, as far as it has the flag.


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "unixs:///run/rusd.sock"])
@pytest.mark.parametrize("flag", ["--listen-client-urls", "--listen-client-http-urls"])
def test_a_secure_url_needs_a_certificate(flag: str, url: str) -> None:
    text = refusal(f"{flag}={url}", "--advertise-client-urls=http://h:1")
    assert text == (
        "TLS key/cert (--cert-file, --key-file) must be provided "
        f"for client url {url} with HTTPS scheme"
    )


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "unixs:///run/rusd.sock"])
def test_a_secure_metrics_url_needs_a_certificate(url: str) -> None:
    assert refusal(f"--listen-metrics-urls={url}") == (
        "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url"
    )


def test_certificate_and_key_come_together() -> None:
    message = "KeyFile and CertFile must both be present[key: {}, cert: {}]"
    assert refusal(*HTTPS, "--cert-file=c") == message.format("", "c")
    assert refusal(*HTTPS, "--key-file=k", "--auto-tls") == message.format("k", "")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--cipher-suites=X"], 'unexpected TLS cipher suite "X"'),
        (
            ["--tls-min-version=TLS1.1"],
            'unexpected TLS version "TLS1.1" (must be one of: TLS1.2, TLS1.3)',
        ),
        (
            ["--tls-max-version=1.3"],
            'unexpected TLS version "1.3" (must be one of: TLS1.2, TLS1.3)',
        ),
        (
            ["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
            "min version (TLS1.3) is greater than max version (TLS1.2)",
        ),
        (
            ["--tls-min-version=TLS1.3", "--cipher-suites=TLS_AES_128_GCM_SHA256"],
            "cipher suites cannot be configured when only TLS1.3 is enabled",
        ),
    ],
)
def test_versions_and_cipher_suites_are_checked_even_when_no_url_needs_them(
    flags: list[str], message: str
) -> None:
    assert refusal(*flags) == message


def test_an_automatic_certificate_must_be_good_for_some_time() -> None:
    assert "should be greater than 0" in refusal(
        *HTTPS, "--auto-tls", "--self-signed-cert-validity=0"
    )


def test_an_automatic_certificate_is_enough() -> None:
    assert loaded(*HTTPS, "--auto-tls").notes == ()


@pytest.mark.parametrize(
    ("argv", "notes"),
    [
        ((*HTTP, *GIVEN), ["ignoring key and cert files for http://127.0.0.1:1"]),
        ((*HTTP, "--auto-tls"), ["ignoring key and cert files for http://127.0.0.1:1"]),
        (
            (*HTTP, "--client-cert-auth"),
            ["ignoring client cert auth for this URL: http://127.0.0.1:1"],
        ),
        ((*HTTPS, *GIVEN, "--auto-tls"), ["ignoring client auto TLS since certs given"]),
        ((*HTTPS, *GIVEN, "--client-cert-file=x"), ["--client-cert-file is accepted but has no"]),
    ],
)
def test_what_is_asked_for_in_vain_is_noted(argv: tuple[str, ...], notes: list[str]) -> None:
    found = loaded(*argv).notes
    assert len(found) == len(notes)
    assert all(part in note for part, note in zip(notes, found, strict=True))


# -- URLs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["unix", "unixs"])
def test_clients_may_come_by_a_unix_socket(scheme: str) -> None:
    url = f"{scheme}:///run/rusd.sock"
    config = loaded(f"--listen-client-urls={url}", f"--advertise-client-urls={url}", *GIVEN).config
    assert config.listen_client_urls == config.advertise_client_urls == (url,)


def test_gateway_and_grpc_may_listen_apart() -> None:
    config = loaded("--listen-client-http-urls=http://127.0.0.1:8080").config
    assert config.listen_client_http_urls == ("http://127.0.0.1:8080",)
    assert config.client_urls == ("http://localhost:2379", "http://127.0.0.1:8080")
    assert Config().listen_client_http_urls == ()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--listen-client-http-urls=http://localhost:2379"],
            "cannot bind both --listen-client-urls and --listen-client-http-urls "
            "on the same url http://localhost:2379",
        ),
        (
            ["--listen-client-http-urls=https://localhost:2379", *GIVEN],
            "cannot bind both --listen-client-urls and --listen-client-http-urls "
            "on the same url https://localhost:2379",
        ),
        (
            ["--listen-metrics-urls=http://127.0.0.1:1,https://127.0.0.1:1", *GIVEN],
            "--listen-metrics-urls: http://127.0.0.1:1 and https://127.0.0.1:1 are one address",
        ),
        (
            ["--listen-client-http-urls=unix:///a", "--listen-metrics-urls=unix:///a"],
            "--listen-client-http-urls and --listen-metrics-urls both listen on unix:///a",
        ),
        (
            ["--listen-client-http-urls=http://example.org:1"],
            "--listen-client-http-urls: expected IP in URL for binding (http://example.org:1)",
        ),
    ],
)
def test_addresses_that_cannot_be_listened_on_are_refused(argv: list[str], message: str) -> None:
    assert refusal(*argv) == message


def test_a_scheme_in_capitals_asks_for_tls_as_well() -> None:
    assert "must be provided for client url https://127.0.0.1:1" in refusal(*SHOUTED)
    assert loaded(*SHOUTED, *GIVEN).config.listen_client_urls == ("https://127.0.0.1:1",)


def test_clients_may_have_http_and_https_on_one_address_as_in_etcd() -> None:
    both = "http://127.0.0.1:1,https://127.0.0.1:1"
    config = loaded(
        f"--listen-client-urls={both}", "--advertise-client-urls=http://h:1", *GIVEN
    ).config
    assert len(config.listen_client_urls) == 2


# -- peers: texts as etcd 3.7 ends with ------------------------------------------------------------

PEER_HTTPS = ["--listen-peer-urls=https://127.0.0.1:1"]
PEER_PAIR = ["--peer-cert-file=c", "--peer-key-file=k"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            PEER_HTTPS,
            "cannot listen on TLS for 127.0.0.1:1: KeyFile and CertFile are not presented",
        ),
        (["--peer-cert-file=c"], "KeyFile and CertFile must both be present[key: , cert: c]"),
        (["--peer-key-file=k"], "KeyFile and CertFile must both be present[key: k, cert: ]"),
        (
            [*PEER_PAIR, "--peer-client-cert-file=x"],
            "ClientKeyFile and ClientCertFile must both be present or both absent",
        ),
        (
            [*PEER_PAIR, "--peer-cert-allowed-cn=a", "--peer-cert-allowed-hostname=b,c"],
            'are mutually exclusive (cns=["a"], hostnames=["b" "c"])',
        ),
        (
            [*PEER_HTTPS, "--peer-auto-tls", "--self-signed-cert-validity=0"],
            "it should be greater than 0",
        ),
    ],
)
def test_flags_of_peers_that_contradict_each_other_are_refused(
    argv: list[str], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(parse_arguments(argv), {})
    assert message in str(caught.value)


def test_a_file_has_a_section_for_the_tls_of_peers(tmp_path: Path) -> None:
    config = from_yaml(
        tmp_path,
        """
        listen-peer-urls: https://127.0.0.1:1
        peer-transport-security:
          cert-file: c
          key-file: k
          client-cert-file: cc
          client-key-file: ck
          client-cert-auth: true
          trusted-ca-file: t
          allowed-cn: [a, b]
          skip-client-san-verification: true
        """,
    ).config
    assert (config.peer_cert_file, config.peer_key_file) == ("c", "k")
    assert (config.peer_client_cert_file, config.peer_client_key_file) == ("cc", "ck")
    assert (config.peer_trusted_ca_file, config.peer_client_cert_auth) == ("t", True)
    assert config.peer_cert_allowed_cn == ("a", "b")
    assert config.peer_skip_client_san_verification


def test_certificates_of_peers_without_an_https_url_are_noted() -> None:
    notes = load(parse_arguments([*PEER_PAIR, "--peer-client-cert-auth"]), {}).notes
    assert len([note for note in notes if "ignoring" in note]) == 2


def test_an_authority_that_auto_tls_ignores_is_noted() -> None:
    argv = [*PEER_HTTPS, "--peer-auto-tls", "--peer-trusted-ca-file=t"]
    notes = load(parse_arguments(argv), {}).notes
    assert any("are not verified" in note for note in notes)
