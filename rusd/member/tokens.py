"""The token provider of `--auth-token`, with its key files."""

import time
from pathlib import Path

from rusd.auth.errors import InvalidKey
from rusd.auth.providers import JwtProvider, NoTokens, SimpleProvider, TokenProvider
from rusd.base.logs import get_logger
from rusd.config import Config, ConfigError, auth_token
from rusd.member.key_files import warn_if_exposed

log = get_logger(__name__)


def token_provider(config: Config) -> TokenProvider:
    """Return the token provider. Raises ConfigError if the options or the keys are invalid."""
    try:
        options = auth_token.parse(config.auth_token)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if options.kind == "":
        return NoTokens()
    if options.kind == "simple":
        return SimpleProvider(config.auth_token_ttl, time.monotonic)
    if options.unknown:
        log.warning("unknown JWT options", extra={"fields": {"keys": list(options.unknown)}})
    # Here, so that a member without such tokens need not wait for `cryptography`.
    from rusd.auth.jwt_tokens import JwtTokens

    try:
        tokens = JwtTokens(
            options.sign_method,
            public=_read(options.public_key),
            private=_read(options.private_key),
            ttl=options.ttl,
        )
    except InvalidKey as error:
        raise ConfigError(f"--auth-token: {error}") from None
    warn_if_exposed(options.private_key)
    return JwtProvider(tokens, time.time)


def _read(path: str) -> bytes:
    if not path:
        return b""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"--auth-token: {path}: {error.strerror}") from None
