"""`--auth-token`: the kind of tokens, and for JSON Web Tokens their key files and method.

    simple
    jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=10m

As in etcd an option given twice or without a value is refused, and an unknown one of `jwt` is noted
in the log. The files are read when the member starts. Source: etcd's `server/auth`, facts only.
"""

from dataclasses import dataclass

from rusd.config import parsers

#: Seconds that a JSON Web Token lives unless `ttl` says otherwise.
DEFAULT_TTL = 300.0
_KNOWN = frozenset(("sign-method", "pub-key", "priv-key", "ttl"))


@dataclass(frozen=True, slots=True)
class AuthToken:
    """The parsed flag."""

    #: "simple", "jwt", or "" for none at all: no login by password then.
    kind: str
    sign_method: str = ""
    #: Paths; empty if not given.
    public_key: str = ""
    private_key: str = ""
    #: Seconds.
    ttl: float = DEFAULT_TTL
    #: Options that etcd does not know.
    unknown: tuple[str, ...] = ()


def parse(text: str) -> AuthToken:
    """Raises ValueError with etcd's text if the options cannot be used."""
    kind, *pairs = text.split(",")
    options: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or "=" in value or name in options:
            raise ValueError("auth: invalid auth options")
        options[name] = value
    if kind != "jwt":
        if kind not in ("simple", ""):
            raise ValueError("auth: invalid auth options")
        return AuthToken(kind)
    try:
        ttl = parsers.duration(options["ttl"]) if options.get("ttl") else DEFAULT_TTL
    except ValueError:
        raise ValueError("auth: invalid auth options") from None
    return AuthToken(
        kind,
        options.get("sign-method", ""),
        options.get("pub-key", ""),
        options.get("priv-key", ""),
        ttl,
        tuple(sorted(options.keys() - _KNOWN)),
    )
