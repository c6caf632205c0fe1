"""The health check of the image finds where the member of its container responds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cluster.healthcheck import Settings, member


def process(processes: Path, number: int, words: list[str], variables: dict[str, str]) -> None:
    directory = processes / str(number)
    directory.mkdir(parents=True)
    (directory / "cmdline").write_bytes("\0".join([*words, ""]).encode())
    environment = [f"{name}={text}" for name, text in variables.items()]
    (directory / "environ").write_bytes("\0".join([*environment, ""]).encode())


@pytest.mark.parametrize(
    ("arguments", "variables", "url"),
    [
        ([], {}, "http://127.0.0.1:2379"),
        (["--listen-client-urls", "https://0.0.0.0:1,http://b:2"], {}, "https://0.0.0.0:1"),
        (["--listen-client-urls=unix://a:1,http://b:2"], {}, "http://b:2"),
        (["-listen-metrics-urls=http://a:1", "--listen-client-urls=http://b:2"], {}, "http://a:1"),
        (["--listen-client-urls=http://b:2"], {"ETCD_LISTEN_METRICS_URLS": "http://c"}, "http://c"),
        (
            ["--listen-client-urls=http://b:2"],
            {"ETCD_LISTEN_CLIENT_URLS": "http://c"},
            "http://b:2",
        ),
    ],
)
def test_the_url_comes_from_flags_then_variables_then_the_default(
    arguments: list[str], variables: dict[str, str], url: str
) -> None:
    assert Settings(arguments, variables).url() == url


def test_a_configuration_file_decides_alone(tmp_path: Path) -> None:
    tls = {"cert-file": "a.crt", "key-file": "a.key"}
    content = {"listen-client-urls": "https://a:1", "client-transport-security": tls}
    (tmp_path / "rusd.yml").write_text(json.dumps(content))
    arguments = [f"--config-file={tmp_path / 'rusd.yml'}", "--listen-client-urls=http://b:2"]
    settings = Settings(arguments, {"ETCD_CERT_FILE": "b.crt"})
    assert (settings.url(), settings.certificate()) == ("https://a:1", ("a.crt", "a.key"))


def test_the_member_is_found_below_an_init_process(tmp_path: Path) -> None:
    process(tmp_path, 1, ["/sbin/docker-init", "--", "rusd", "--listen-client-urls=http://x"], {})
    process(tmp_path, 7, ["/bin/python", "/usr/local/bin/etcd"], {"ETCD_CERT_FILE": "a.crt"})
    found = member(tmp_path)
    assert found is not None
    assert (found.url(), found.certificate()[0]) == ("http://127.0.0.1:2379", "a.crt")


def test_another_process_is_no_member(tmp_path: Path) -> None:
    process(tmp_path, 1, ["sleep", "600"], {})
    assert member(tmp_path) is None
