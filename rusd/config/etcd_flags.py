"""Flags of etcd that rusd does not serve, and what happens when somebody sets one.

`UNSUPPORTED`: leaving the flag out would break a promise its user relies on (encryption, access
control, which cluster a member joins, what is deleted). Any value but etcd's default is refused.

`WITHOUT_EFFECT`: tuning, or machinery rusd has no counterpart of. Accepted, so that existing
manifests and unit files work; a value that asks for something is noted in the log at start.

`NOT_YET`: fields of `Config` that no room reads so far. Setting one is noted in the same way; the
room that begins to read it takes it off the list.
"""

from typing import NamedTuple

from rusd.config import values as values


class Foreign(NamedTuple):
    """A flag known by name only."""

    parse: values.Parser
    default: object
    #: For an unsupported flag: what is missing, to complete "rusd does not support … yet".
    subject: str = ""


_PEER_TLS = "TLS between members"
_DISCOVERY = "discovery"


def _all(subject: str, *names: str) -> dict[str, Foreign]:
    return {name: Foreign(values.text, "", subject) for name in names}


def _switches(subject: str, *names: str) -> dict[str, Foreign]:
    return {name: Foreign(values.boolean, False, subject) for name in names}


def _durations(*names: str) -> dict[str, Foreign]:
    return {name: Foreign(values.duration, None) for name in names}


def _numbers(*names: str) -> dict[str, Foreign]:
    return {name: Foreign(values.signed, None) for name in names}


UNSUPPORTED: dict[str, Foreign] = {
    **_all(
        _PEER_TLS,
        "peer-cert-file",
        "peer-key-file",
        "peer-client-cert-file",
        "peer-client-key-file",
        "peer-trusted-ca-file",
        "peer-crl-file",
        "peer-cert-allowed-cn",
        "peer-cert-allowed-hostname",
    ),
    **_switches(_PEER_TLS, "peer-client-cert-auth", "peer-auto-tls"),
    **_all(
        _DISCOVERY,
        "discovery",
        "discovery-token",
        "discovery-endpoints",
        "discovery-proxy",
        "discovery-srv",
        "discovery-srv-name",
        "discovery-cert",
        "discovery-key",
        "discovery-cacert",
        "discovery-user",
        "discovery-password",
    ),
    "auth-token": Foreign(values.text, "simple", "tokens other than 'simple'"),
    "host-whitelist": Foreign(values.text, "*", "host white lists"),
    "cors": Foreign(values.text, "*", "CORS"),
    "enable-log-rotation": Foreign(values.boolean, False, "log rotation"),
    "enable-v2": Foreign(values.boolean, False, "the v2 API"),
    "experimental-enable-v2v3": Foreign(values.text, "", "the v2 API"),
    "proxy": Foreign(values.text, "off", "proxy mode"),
}

WITHOUT_EFFECT: dict[str, Foreign] = {
    "backend-bbolt-freelist-type": Foreign(values.text, None),
    # What etcd's gateway shows to etcd itself; rusd needs no connection to itself.
    "client-cert-file": Foreign(values.text, ""),
    "client-key-file": Foreign(values.text, ""),
    "backend-batch-interval": Foreign(values.duration, None),
    "bootstrap-defrag-threshold-megabytes": Foreign(values.unsigned, 0),
    "discovery-fallback": Foreign(values.choice("exit", "proxy"), None),
    "distributed-tracing-address": Foreign(values.text, None),
    "distributed-tracing-instance-id": Foreign(values.text, None),
    "distributed-tracing-service-name": Foreign(values.text, None),
    "enable-distributed-tracing": Foreign(values.boolean, False),
    "enable-grpc-gateway": Foreign(values.boolean, None),
    "enable-pprof": Foreign(values.boolean, False),
    "log-rotation-config-json": Foreign(values.text, None),
    "memory-mlock": Foreign(values.boolean, False),
    "peer-skip-client-san-verification": Foreign(values.boolean, None),
    "socket-reuse-port": Foreign(values.boolean, False),
    "socket-reuse-address": Foreign(values.boolean, None),
    "v2-deprecation": Foreign(values.text, None),
    "discovery-insecure-transport": Foreign(values.boolean, None),
    "discovery-insecure-skip-tls-verify": Foreign(values.boolean, None),
    **_durations(
        "discovery-dial-timeout",
        "discovery-keepalive-time",
        "discovery-keepalive-timeout",
        "discovery-request-timeout",
        "downgrade-check-time",
        "raft-read-timeout",
        "raft-write-timeout",
    ),
    **_numbers(
        "auth-token-ttl",
        "backend-batch-limit",
        "bcrypt-cost",
        "distributed-tracing-sampling-rate",
        "max-snapshots",
        "max-wals",
        "proxy-dial-timeout",
        "proxy-failure-wait",
        "proxy-read-timeout",
        "proxy-refresh-interval",
        "proxy-write-timeout",
    ),
    **_switches(
        "",
        "experimental-enable-lease-checkpoint",
        "experimental-enable-lease-checkpoint-persist",
        "experimental-stop-grpc-service-on-defrag",
    ),
    "experimental-txn-mode-write-with-shared-buffer": Foreign(values.boolean, None),
}

NOT_YET: frozenset[str] = frozenset(
    (
        "initial-election-tick-advance",
        "metrics",
        "pre-vote",
        "warning-apply-duration",
        "warning-unary-request-duration",
    )
)

#: Spellings of etcd 3.5 and 3.6 for flags of the tables above.
OLD_SPELLINGS: dict[str, str] = {
    f"experimental-{name}": name
    for name in (
        "bootstrap-defrag-threshold-megabytes",
        "distributed-tracing-address",
        "distributed-tracing-instance-id",
        "distributed-tracing-sampling-rate",
        "distributed-tracing-service-name",
        "downgrade-check-time",
        "enable-distributed-tracing",
        "memory-mlock",
        "peer-skip-client-san-verification",
    )
}
