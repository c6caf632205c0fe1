"""The files of docker-compose.tls.yml: valid, complete, and closed to other users."""

from __future__ import annotations

import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from cluster import compose_tls
from cluster.certificates import Authority

ROOT = Path(__file__).parents[2]
NAMES = ("client", "peer", "server")


def variables(directory: Path) -> dict[str, str]:
    lines = (directory / compose_tls.VARIABLES).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_certificates_are_kept_until_they_end(tmp_path: Path) -> None:
    compose_tls.provide(tmp_path)
    first = (tmp_path / "client.crt").read_bytes()
    compose_tls.provide(tmp_path)
    assert (tmp_path / "client.crt").read_bytes() == first
    Authority(tmp_path, "other").issue("client", valid=timedelta(hours=1))
    compose_tls.provide(tmp_path)
    authority = x509.load_pem_x509_certificate((tmp_path / "ca.crt").read_bytes())
    for name in NAMES:
        made = x509.load_pem_x509_certificate((tmp_path / f"{name}.crt").read_bytes())
        made.verify_directly_issued_by(authority)


def test_a_key_is_never_readable_by_another_user(tmp_path: Path) -> None:
    key = Authority(tmp_path).issue("anybody").key
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_members_read_their_keys_and_other_users_none(tmp_path: Path, umask: int) -> None:
    """An open key of before is closed, and a narrow umask of the caller keeps no member out."""
    directory = tmp_path / "tls"
    before = os.umask(umask)
    try:
        compose_tls.provide(directory)
        (directory / "server.key").chmod(0o644)
        compose_tls.provide(directory)
    finally:
        os.umask(before)
    user = variables(directory)["RUSD_USER"]
    assert not user.startswith("0:")
    for name in NAMES:
        found = (directory / f"{name}.key").stat()
        assert stat.S_IMODE(found.st_mode) == 0o600
        owner = f"{found.st_uid}:{found.st_gid}"
        assert owner == (user if name != "client" else f"{os.getuid()}:{os.getgid()}")
        assert stat.S_IMODE((directory / f"{name}.crt").stat().st_mode) == 0o644
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755


def test_a_caller_that_is_not_root_runs_the_members_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = (tmp_path.stat().st_uid, tmp_path.stat().st_gid)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    monkeypatch.setattr(os, "getgid", lambda: 23456)
    given = list[tuple[int, int]]()
    monkeypatch.setattr(os, "chown", lambda path, *user: given.append(user))
    compose_tls.provide(tmp_path)
    assert variables(tmp_path)["RUSD_USER"] == "12345:23456"
    assert {*given} <= {(12345, 23456)} and owner != (12345, 23456)


def test_every_variable_is_one_that_the_compose_files_use(tmp_path: Path) -> None:
    compose_tls.provide(tmp_path)
    found = variables(tmp_path)
    files = [ROOT / name for name in found.pop("COMPOSE_FILE").split(":")]
    assert found.pop("COMPOSE_PROJECT_NAME") != yaml.safe_load(files[0].read_text()).get("name")
    text = "".join(file.read_text() for file in files)
    assert {name for name in found if f"${{{name}:-" not in text} == set()


def test_no_url_of_a_member_keeps_its_scheme() -> None:
    base = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for name, service in base["services"].items():
        for word in service.get("command", ()) if name.startswith("rusd-") else ():
            if "metrics" not in word:
                assert "http://" not in word, name
