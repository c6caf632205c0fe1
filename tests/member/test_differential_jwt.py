"""JSON Web Tokens beside etcd: each kind of key, tokens of one believed by the other, forgeries."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from cluster.local import ClusterError, LocalCluster
from tests.support.auth_pair import PASSWORD, auth_call
from tests.support.client import Client, Refused
from tests.support.pair import ORACLE, SUBJECT, command, outcome, require_newer_oracle

KINDS = {
    "RS256": ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "ES256": ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "EdDSA": ["genpkey", "-algorithm", "ED25519"],
}


def keys(directory: Path, method: str) -> tuple[Path, Path]:
    """(public key, private key); one secret for HMAC."""
    private, public = directory / "private.pem", directory / "public.pem"
    if method not in KINDS:
        private.write_bytes(b"a secret of thirty-two bytes.....")
        public.write_bytes(private.read_bytes())
    else:
        subprocess.run(["openssl", *KINDS[method], "-out", str(private)], check=True,
                       capture_output=True)  # fmt: skip
        subprocess.run(["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)],
                       check=True, capture_output=True)  # fmt: skip
    private.chmod(0o600)
    return public, private


def flag(public: Path, private: Path | None, method: str, ttl: str = "10m") -> str:
    keys = f"pub-key={public}" + (f",priv-key={private}" if private else "")
    return f"--auth-token=jwt,{keys},sign-method={method},ttl={ttl}"


def log_in(endpoint: str, user: str) -> str:
    path, request, answer = auth_call("Authenticate", name=user, password=PASSWORD)
    with Client(endpoint) as client:
        return client.call(path, request, answer).token  # type: ignore[attr-defined,no-any-return]


def populate(endpoint: str) -> None:
    with Client(endpoint) as client:
        for method, fields in (
            ("UserAdd", {"name": "root", "password": PASSWORD}),
            ("UserGrantRole", {"user": "root", "role": "root"}),
            ("UserAdd", {"name": "u", "password": PASSWORD}),
            ("AuthEnable", {}),
        ):
            client.call(*auth_call(method, **fields))


def as_token(endpoint: str, token: str, method: str, *arguments: Any) -> object:
    with Client(endpoint, metadata={"token": token}) as client:
        return outcome(client, method, arguments, {})


def altered(token: str, **claims: Any) -> str:
    """The claims changed, under the signature of the others."""
    head, _, signature = token.split(".")
    changed = jwt.decode(token, options={"verify_signature": False}) | claims
    payload = jwt.utils.base64url_encode(json.dumps(changed).encode()).decode()
    return f"{head}.{payload}.{signature}"


@pytest.mark.parametrize("method", ["RS256", "ES256", "HS256", "EdDSA"])
def test_a_token_of_either_server_is_believed_by_both_and_a_forged_one_by_none(
    method: str, tmp_path: Path
) -> None:
    require_newer_oracle()
    public, private = keys(tmp_path, method)
    flags = [flag(public, private, method), "--bcrypt-cost=4"]
    with (
        LocalCluster(1, binary=[command(SUBJECT)], flags=flags) as mine,
        LocalCluster(1, binary=[command(ORACLE)], flags=flags) as theirs,
    ):
        endpoints = mine.endpoints[0], theirs.endpoints[0]
        for endpoint in endpoints:
            populate(endpoint)
        claims = []
        for issuer in endpoints:
            root, plain = log_in(issuer, "root"), log_in(issuer, "u")
            decoded = jwt.decode(root, options={"verify_signature": False})
            assert abs(decoded.pop("exp") - time.time() - 600) < 60
            claims.append((jwt.get_unverified_header(root), decoded))
            unsigned = jwt.encode({"username": "root", "revision": 9}, None, algorithm="none")
            swapped = jwt.PyJWS().encode(json.dumps(decoded).encode(), b"x" * 64, algorithm="HS512")
            forged = [
                altered(root, username="u"),
                altered(plain, username="root"),
                altered(root, exp=int(time.time()) + 10**6),
                unsigned,
                swapped,
                root[:-4] + "AAAA",
                root + ".x",
                "Bearer " + root,
            ]
            for token in (root, plain, *forged):
                for call in (("put", b"k"), ("range", b"k"), ("hash_kv",), ("leases",)):
                    one, other = (as_token(each, token, *call) for each in endpoints)
                    if isinstance(one, Refused) or isinstance(other, Refused):
                        assert one == other, (token, call)
                    if token in forged[:-1]:
                        assert one == Refused("UNAUTHENTICATED", "etcdserver: invalid auth token")
            assert not isinstance(as_token(endpoints[0], root, "put", b"k"), Refused)
        assert claims[0] == claims[1]
        # Any change makes the revision of a token old, for both alike.
        token = log_in(endpoints[0], "root")
        for endpoint in endpoints:
            with Client(endpoint, metadata={"token": token}) as client:
                client.call(*auth_call("RoleAdd", name="r"))
        seen = [as_token(each, token, "put", b"k") for each in endpoints]
        old = Refused("INVALID_ARGUMENT", "etcdserver: revision of auth store is old")
        assert seen == [old, old]


def test_a_member_with_the_public_key_alone_verifies_and_issues_nothing(tmp_path: Path) -> None:
    public, private = keys(tmp_path, "RS256")
    with (
        LocalCluster(1, binary=[command(SUBJECT)], flags=[flag(public, None, "RS256")]) as mine,
        LocalCluster(1, binary=[command(ORACLE)], flags=[flag(public, None, "RS256")]) as theirs,
    ):
        tokens = jwt.encode(
            {"username": "root", "revision": 4, "exp": int(time.time()) + 600},
            private.read_bytes(),
            algorithm="RS256",
        )
        seen = []
        for endpoint in (mine.endpoints[0], theirs.endpoints[0]):
            populate(endpoint)
            try:
                log_in(endpoint, "root")
            except Refused as refused:
                seen.append(refused)
            assert not isinstance(as_token(endpoint, tokens, "put", b"k"), Refused)
        assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "options",
    [
        "jwt",
        "jwt,sign-method=none,pub-key={public},priv-key={private}",
        "jwt,sign-method=RS256",
        "jwt,sign-method=RS256,pub-key=/nowhere,priv-key={private}",
        "jwt,sign-method=ES256,pub-key={public},priv-key={private}",
        "jwt,sign-method=RS256,pub-key={public},priv-key={private},ttl=soon",
        "jwt,sign-method=RS256,sign-method=RS256,pub-key={public},priv-key={private}",
        "jwt,sign-method,pub-key={public},priv-key={private}",
        "jwt,sign-method=rs256,pub-key={public},priv-key={private}",
        "saml",
        "simple,ttl",
    ],
)
def test_options_that_etcd_refuses_are_refused_at_the_start(options: str, tmp_path: Path) -> None:
    public, private = keys(tmp_path, "RS256")
    given = "--auth-token=" + options.format(public=public, private=private)
    for binary in (SUBJECT, ORACLE):
        with pytest.raises(ClusterError):
            LocalCluster(1, binary=[command(binary)], flags=[given], start_timeout=20).start()
