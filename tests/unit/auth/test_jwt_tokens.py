"""JSON Web Tokens: all methods, and forgeries."""

import base64
import hashlib
import hmac
import itertools
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from rusd.auth.errors import InvalidKey, InvalidToken, SigningImpossible
from rusd.auth.jwt_tokens import METHODS, JwtTokens
from rusd.auth.records import Identity

NOW = 1_700_000_000.0
SOMEBODY = Identity("somebody", 7)


def pem(key: Any) -> tuple[bytes, bytes]:
    """Returns (public, private)."""
    return (
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


RSA = pem(rsa.generate_private_key(65537, 2048))
OTHER_RSA = pem(rsa.generate_private_key(65537, 2048))
KEYS = {
    "HS": (b"", b"a secret of any form\n"),
    "RS": RSA,
    "PS": RSA,
    "ES256": pem(ec.generate_private_key(ec.SECP256R1())),
    "ES384": pem(ec.generate_private_key(ec.SECP384R1())),
    "ES512": pem(ec.generate_private_key(ec.SECP521R1())),
    "EdDSA": pem(ed25519.Ed25519PrivateKey.generate()),
}


def keys_of(method: str) -> tuple[bytes, bytes]:
    return KEYS.get(method) or KEYS[method[:2]]


def tokens(method: str = "RS256", *, public: bool = True, private: bool = True) -> JwtTokens:
    pub, priv = keys_of(method)
    return JwtTokens(method, public=pub * public, private=priv * private, ttl=300)


def encoded(part: object) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_issues_what_it_verifies(method: str) -> None:
    both = tokens(method)
    assert both.identify(both.issue(SOMEBODY, NOW), NOW) == SOMEBODY


@pytest.mark.parametrize("method", [one for one in METHODS if not one.startswith("HS")])
def test_a_public_key_alone_verifies_and_issues_nothing(method: str) -> None:
    verifier = tokens(method, private=False)
    assert verifier.verifies_only
    assert verifier.identify(tokens(method).issue(SOMEBODY, NOW), NOW) == SOMEBODY
    with pytest.raises(SigningImpossible):
        verifier.issue(SOMEBODY, NOW)


def test_a_token_ends_when_its_time_is_up() -> None:
    both = tokens()
    token = both.issue(SOMEBODY, NOW)
    both.identify(token, NOW + 299)
    with pytest.raises(InvalidToken):
        both.identify(token, NOW + 300)


CLAIMS = {"username": "root", "revision": 7, "exp": NOW + 300}


def forged() -> dict[str, str]:
    """Tokens that must not be believed, by what is wrong with them."""
    good = tokens().issue(SOMEBODY, NOW)
    head, body, signature = good.split(".")
    none = f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(CLAIMS)}"
    public = RSA[0]

    def signed(claims: object, key: Any = RSA[1], alg: str = "RS256") -> str:
        raw = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        return jwt.PyJWS().encode(raw, key, algorithm=alg)

    swapped = f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded(CLAIMS)}"
    mac = hmac.new(public, swapped.encode(), hashlib.sha256).digest()
    return {
        "alg none without signature": f"{none}.",
        "alg none with the signature of another": f"{none}.{signature}",
        "another user under the same signature": f"{head}.{encoded(CLAIMS)}.{signature}",
        "signed by another key": signed(CLAIMS, OTHER_RSA[1]),
        "another method of the same key": signed(CLAIMS, alg="PS256"),
        "the public key as a secret": f"{swapped}.{encoded(mac)}",
        "expired": signed({**CLAIMS, "exp": NOW - 1}),
        "not valid yet": signed({**CLAIMS, "nbf": NOW + 60}),
        "a time that is no number": signed({**CLAIMS, "exp": "never"}),
        "a time without end": signed(b'{"username":"root","revision":7,"exp":1e999}'),
        "no user": signed({"revision": 7, "exp": NOW + 300}),
        "no revision": signed({"username": "root", "exp": NOW + 300}),
        "a user that is no text": signed({**CLAIMS, "username": ["root"]}),
        "a revision that is no number": signed({**CLAIMS, "revision": True}),
        "a revision of more than 64 bits": signed({**CLAIMS, "revision": 1 << 64}),
        "half a surrogate pair": signed(b'{"username":"\\ud800","revision":7}'),
        "a negative revision": signed({**CLAIMS, "revision": -1}),
        "claims that are no object": signed(b"[]"),
        "claims that are no JSON": signed(b"{"),
        "claims nested without end": signed(b"[" * 5000),
        "no signature": f"{head}.{body}",
        "nothing": "",
        "bytes that are no ASCII": "é.é.é",
        "much": "a" * 1_000_000,
        "a simple token": "abcdefghijklmnop.7",
    }


@pytest.mark.parametrize("name", list(forged()))
def test_no_forgery_is_believed(name: str) -> None:
    with pytest.raises(InvalidToken):
        tokens().identify(forged()[name], NOW)


def test_a_token_without_an_end_is_believed_as_in_etcd() -> None:
    token = jwt.PyJWS().encode(b'{"username":"a","revision":7.0}', RSA[1], algorithm="RS256")
    assert tokens().identify(token, NOW) == Identity("a", 7)


def test_a_secret_may_look_like_a_key() -> None:
    secret = JwtTokens("HS256", public=b"", private=RSA[1], ttl=300)
    assert secret.identify(secret.issue(SOMEBODY, NOW), NOW) == SOMEBODY


@pytest.mark.parametrize(
    ("method", "public", "private"),
    [
        ("none", b"", b"secret"),
        ("HS255", b"", b"secret"),
        ("HS256", b"secret", b""),
        ("RS256", b"", b""),
        ("RS256", b"nothing", b""),
        ("RS256", b"", b"nothing"),
        ("RS256", KEYS["ES256"][0], b""),
        ("ES256", RSA[0], b""),
        ("ES256", KEYS["ES384"][0], b""),
        ("EdDSA", RSA[0], b""),
        ("RS256", OTHER_RSA[0], RSA[1]),
    ],
    # Keys are new in each process, names of tests must not be.
    ids=itertools.count(),
)
def test_keys_that_do_not_fit_are_refused_at_the_start(
    method: str, public: bytes, private: bytes
) -> None:
    with pytest.raises(InvalidKey):
        JwtTokens(method, public=public, private=private, ttl=300)


def test_no_key_is_in_a_representation_or_an_error() -> None:
    secret = JwtTokens("HS256", public=b"", private=b"sesame", ttl=300)
    assert "sesame" not in repr(vars(secret))
    with pytest.raises(InvalidKey) as caught:
        JwtTokens("RS256", public=b"", private=b"sesame", ttl=300)
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None
