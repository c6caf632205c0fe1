"""JSON Web Tokens (RFC 7519) with etcd's claims: `username`, `revision` and `exp`.

A token carries its user and the auth revision at its issue, and proves both by a signature, so that
members share a key and keep nothing. Any change of users or roles makes the revision old; the
client then authenticates again.

The method is fixed by `--auth-token`: a token that names another one (also `none`) is invalid,
whatever its signature. With a public key alone a member verifies and issues nothing.
"""

import json
import math
from dataclasses import dataclass
from typing import Any, TypeGuard

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import load_pem_x509_certificate
from jwt.algorithms import HMACAlgorithm

from rusd.auth.errors import InvalidKey, InvalidToken, SigningImpossible
from rusd.auth.records import Identity

#: Signing methods by name, as `--auth-token` spells them.
METHODS = (
    *("HS256", "HS384", "HS512"),
    *("RS256", "RS384", "RS512"),
    *("PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512"),
    "EdDSA",
)
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_HASHES = {
    "HS256": HMACAlgorithm.SHA256,
    "HS384": HMACAlgorithm.SHA384,
    "HS512": HMACAlgorithm.SHA512,
}
#: Bytes of a token that are looked at; a longer one is invalid.
MAX_TOKEN = 8192


class _AnySecret(HMACAlgorithm):
    """HMAC with the bytes of the key file, whatever they look like, as etcd uses them."""

    def prepare_key(self, key: str | bytes) -> bytes:
        return key.encode() if isinstance(key, str) else key

    def check_key_length(self, key: bytes) -> str | None:
        """None: no complaint about a short one; the operator chose it."""
        return None


@dataclass(frozen=True, slots=True, repr=False)
class _Keys:
    """Key that signs (None: tokens are only verified) and key that verifies."""

    signing: Any
    verifying: Any


class JwtTokens:
    """Issues and verifies tokens by one method and key. No clock, no files."""

    def __init__(self, method: str, *, public: bytes, private: bytes, ttl: float) -> None:
        """`public` and `private`: contents of the key files, empty for none; `ttl` in seconds.

        Raises InvalidKey: no key, an unreadable one, one that does not fit the method, or a public
        key that does not belong to the private one.
        """
        if method not in METHODS:
            raise InvalidKey(f"unknown signing method {method!r}")
        self._method = method
        self._ttl = ttl
        self._keys = _load(method, public, private)
        self._codec = jwt.PyJWS(algorithms=[])
        hashed = _HASHES.get(method)
        algorithm = (
            _AnySecret(hashed) if hashed else jwt.algorithms.get_default_algorithms()[method]
        )
        self._codec.register_algorithm(method, algorithm)

    @property
    def verifies_only(self) -> bool:
        """Whether this member can issue no tokens."""
        return self._keys.signing is None

    def issue(self, identity: Identity, now: float) -> str:
        """Return a token for this user and auth revision; `now` in seconds since the epoch.

        Raises SigningImpossible.
        """
        if self._keys.signing is None:
            raise SigningImpossible
        claims = {
            "exp": int(now + self._ttl),
            "revision": identity.revision,
            "username": identity.user,
        }
        payload = json.dumps(claims, separators=(",", ":")).encode()
        return self._codec.encode(payload, self._keys.signing, algorithm=self._method)

    def identify(self, token: str, now: float) -> Identity:
        """Return the user of a token; `now` in seconds since the epoch. Raises InvalidToken."""
        if len(token) > MAX_TOKEN:
            raise InvalidToken
        try:
            decoded = self._codec.decode_complete(
                token, self._keys.verifying, algorithms=[self._method]
            )
            claims = json.loads(decoded["payload"])
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise InvalidToken from None
        if not isinstance(claims, dict):
            raise InvalidToken
        user, revision = claims.get("username"), claims.get("revision")
        if not isinstance(user, str) or not _is_number(revision) or not 0 <= revision < 1 << 64:
            raise InvalidToken
        try:
            user.encode()
        except UnicodeEncodeError:  # half a surrogate pair
            raise InvalidToken from None
        _check_times(claims, now)
        return Identity(user, int(revision))


def _check_times(claims: dict[str, Any], now: float) -> None:
    """Check `exp` and `nbf` if present, as etcd's JWT library does."""
    for name in ("exp", "nbf"):
        if claims.get(name) is not None and not _is_number(claims[name]):
            raise InvalidToken
    if claims.get("exp") is not None and now >= claims["exp"]:
        raise InvalidToken
    if claims.get("nbf") is not None and now < claims["nbf"]:
        raise InvalidToken


def _is_number(value: object) -> TypeGuard[int | float]:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _load(method: str, public: bytes, private: bytes) -> _Keys:
    if method.startswith("HS"):
        if not private:
            raise InvalidKey("no private key given")
        return _Keys(private, private)
    signing = _private_key(private) if private else None
    verifying = _public_key(public) if public else None
    if signing is None and verifying is None:
        raise InvalidKey("neither a public nor a private key given")
    if signing is not None:
        derived = signing.public_key()
        if verifying is not None and _public_bytes(verifying) != _public_bytes(derived):
            raise InvalidKey("public and private keys do not match")
        verifying = derived
    _require_kind(method, verifying)
    return _Keys(signing, verifying)


def _private_key(pem: bytes) -> Any:
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidKey("the private key cannot be read") from None


def _public_key(pem: bytes) -> Any:
    """Load a public key, or the public key of a certificate."""
    try:
        if b"BEGIN CERTIFICATE" in pem:
            return load_pem_x509_certificate(pem).public_key()
        return serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidKey("the public key cannot be read") from None


def _public_bytes(key: Any) -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    found: bytes = key.public_bytes(encoding, form)
    return found


def _require_kind(method: str, key: Any) -> None:
    """Check that the key's type and size fit the method (RFC 7518, 3.3 to 3.5; RFC 8037)."""
    if method[:2] in ("RS", "PS"):
        fits = isinstance(key, rsa.RSAPublicKey)
    elif method in _CURVES:
        fits = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == _CURVES[method]
    else:
        fits = isinstance(key, ed25519.Ed25519PublicKey)
    if not fits:
        raise InvalidKey(f"the key does not fit the signing method {method}")
