"""Flags of etcd that rusd does not serve, and the effect of setting one.

`UNSUPPORTED`: ignoring the flag would break a promise its user relies on (encryption, access
control, which cluster a member joins, what is deleted). Any value but etcd's default is refused.

`WITHOUT_EFFECT`: tuning of parts that rusd does not have. Accepted, so that existing manifests and
unit files work; a value other than etcd's default is noted in the log at start.

`NOT_YET`: fields of `Config` that no room reads so far. Setting one is noted in the same way. A
change that begins to read one removes it from the list.
"""

from typing import NamedTuple

from rusd.config import parsers


class UnsupportedFlag(NamedTuple):
    """A flag of which only name, type and default are known."""

    parse: parsers.Parser
    default: object
    #: For an unsupported flag: what is missing, to complete "rusd does not support … yet".
    subject: str = ""
    #: For a flag without effect: what the log says when it is set, whatever its value. Tools of
    #: etcd look for these texts.
    note: str = ""


_DISCOVERY = "discovery"


def _all(subject: str, *names: str) -> dict[str, UnsupportedFlag]:
    return {name: UnsupportedFlag(parsers.text, "", subject) for name in names}


def _switches(subject: str, *names: str) -> dict[str, UnsupportedFlag]:
    return {name: UnsupportedFlag(parsers.boolean, False, subject) for name in names}


def _durations(*names: str) -> dict[str, UnsupportedFlag]:
    return {name: UnsupportedFlag(parsers.duration, None) for name in names}


def _numbers(*names: str) -> dict[str, UnsupportedFlag]:
    return {name: UnsupportedFlag(parsers.signed, None) for name in names}


UNSUPPORTED: dict[str, UnsupportedFlag] = {
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
    "host-whitelist": UnsupportedFlag(parsers.text, "*", "host white lists"),
    "cors": UnsupportedFlag(parsers.text, "*", "CORS"),
    "enable-log-rotation": UnsupportedFlag(parsers.boolean, False, "log rotation"),
    "enable-v2": UnsupportedFlag(parsers.boolean, False, "the v2 API"),
    "experimental-enable-v2v3": UnsupportedFlag(parsers.text, "", "the v2 API"),
    "proxy": UnsupportedFlag(parsers.text, "off", "proxy mode"),
}

WITHOUT_EFFECT: dict[str, UnsupportedFlag] = {
    "backend-bbolt-freelist-type": UnsupportedFlag(parsers.text, None),
    # Certificates of the gateway's connection to its own server; rusd has no such connection.
    "client-cert-file": UnsupportedFlag(parsers.text, ""),
    "client-key-file": UnsupportedFlag(parsers.text, ""),
    "backend-batch-interval": UnsupportedFlag(parsers.duration, None),
    "bootstrap-defrag-threshold-megabytes": UnsupportedFlag(
        parsers.unsigned,
        0,
        note="Skipping defragmentation: "
        "--bootstrap-defrag-threshold-megabytes has no effect in rusd",
    ),
    "discovery-fallback": UnsupportedFlag(parsers.choice("exit", "proxy"), None),
    "distributed-tracing-address": UnsupportedFlag(parsers.text, None),
    "distributed-tracing-instance-id": UnsupportedFlag(parsers.text, None),
    "distributed-tracing-service-name": UnsupportedFlag(parsers.text, None),
    "enable-distributed-tracing": UnsupportedFlag(parsers.boolean, False),
    "enable-grpc-gateway": UnsupportedFlag(parsers.boolean, None),
    "enable-pprof": UnsupportedFlag(parsers.boolean, False),
    "log-rotation-config-json": UnsupportedFlag(parsers.text, None),
    "memory-mlock": UnsupportedFlag(parsers.boolean, False),
    "socket-reuse-port": UnsupportedFlag(parsers.boolean, False),
    "socket-reuse-address": UnsupportedFlag(parsers.boolean, None),
    "max-snapshots": UnsupportedFlag(
        parsers.signed,
        None,
        note="--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.",
    ),
    "v2-deprecation": UnsupportedFlag(
        parsers.v2_deprecation,
        None,
        note="--v2-deprecation is deprecated and scheduled for removal in v3.8. "
        "The default value is enforced, ignoring user input.",
    ),
    "discovery-insecure-transport": UnsupportedFlag(parsers.boolean, None),
    "discovery-insecure-skip-tls-verify": UnsupportedFlag(parsers.boolean, None),
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
        "backend-batch-limit",
        "distributed-tracing-sampling-rate",
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
    "experimental-txn-mode-write-with-shared-buffer": UnsupportedFlag(parsers.boolean, None),
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
    )
}
