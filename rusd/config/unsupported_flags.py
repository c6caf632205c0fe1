"""Flags of etcd that rusd does not serve, and the effect of setting one.

`UNSUPPORTED`: ignoring the flag would break a promise its user relies on (encryption, access
control, which cluster a member joins, what is deleted). Any value but etcd's default is refused.

`WITHOUT_EFFECT`: tuning of parts that rusd does not have. Accepted, so that existing manifests and
unit files work; a value other than etcd's default is noted in the log at start.
"""

from typing import NamedTuple

from rusd.config import parsers


class UnsupportedFlag(NamedTuple):
    """A flag of which only name, type and etcd's default are known."""

    parse: parsers.Parser
    default: object
    #: For an unsupported flag: what is missing, to complete "rusd does not support … yet".
    subject: str = ""
    #: For a flag without effect: what the log says when it is set, whatever its value. Tools of
    #: etcd look for these texts.
    note: str = ""


def _all(subject: str, *names: str) -> dict[str, UnsupportedFlag]:
    return {name: UnsupportedFlag(parsers.text, "", subject) for name in names}


def _switches(subject: str, *names: str) -> dict[str, UnsupportedFlag]:
    return {name: UnsupportedFlag(parsers.boolean, False, subject) for name in names}


def _texts(**defaults: str) -> dict[str, UnsupportedFlag]:
    return {_name(field): UnsupportedFlag(parsers.text, value) for field, value in defaults.items()}


def _durations(**seconds: float) -> dict[str, UnsupportedFlag]:
    return {
        _name(field): UnsupportedFlag(parsers.duration, value) for field, value in seconds.items()
    }


def _numbers(**defaults: int) -> dict[str, UnsupportedFlag]:
    return {
        _name(field): UnsupportedFlag(parsers.signed, value) for field, value in defaults.items()
    }


def _name(field: str) -> str:
    return field.replace("_", "-")


UNSUPPORTED: dict[str, UnsupportedFlag] = {
    **_all(
        "v2 discovery",
        "discovery",
        "discovery-proxy",
    ),
    "enable-v2": UnsupportedFlag(parsers.boolean, False, "the v2 API"),
    "experimental-enable-v2v3": UnsupportedFlag(parsers.text, "", "the v2 API"),
    "proxy": UnsupportedFlag(parsers.text, "off", "proxy mode"),
}

WITHOUT_EFFECT: dict[str, UnsupportedFlag] = {
    "bootstrap-defrag-threshold-megabytes": UnsupportedFlag(
        parsers.unsigned,
        0,
        note="Skipping defragmentation: "
        "--bootstrap-defrag-threshold-megabytes has no effect in rusd",
    ),
    "discovery-fallback": UnsupportedFlag(parsers.choice("exit", "proxy"), "exit"),
    "max-snapshots": UnsupportedFlag(
        parsers.signed,
        5,
        note="--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.",
    ),
    "v2-deprecation": UnsupportedFlag(
        parsers.v2_deprecation,
        "write-only",
        note="--v2-deprecation is deprecated and scheduled for removal in v3.8. "
        "The default value is enforced, ignoring user input.",
    ),
    **_texts(
        backend_bbolt_freelist_type="map",
        # Certificates of the gateway's connection to its own server; rusd has no such connection.
        client_cert_file="",
        client_key_file="",
        distributed_tracing_address="localhost:4317",
        distributed_tracing_instance_id="",
        distributed_tracing_service_name="etcd",
    ),
    **_switches(
        "",
        "enable-distributed-tracing",
        "experimental-enable-lease-checkpoint",
        "experimental-enable-lease-checkpoint-persist",
        "experimental-stop-grpc-service-on-defrag",
        "memory-mlock",
    ),
    "experimental-txn-mode-write-with-shared-buffer": UnsupportedFlag(parsers.boolean, True),
    **_durations(
        backend_batch_interval=0,
        discovery_keepalive_time=2,
        discovery_keepalive_timeout=6,
        downgrade_check_time=5,
        raft_read_timeout=5,
        raft_write_timeout=5,
    ),
    **_numbers(
        backend_batch_limit=0,
        distributed_tracing_sampling_rate=0,
        max_wals=5,
        # etcd 3.5; milliseconds.
        proxy_dial_timeout=1000,
        proxy_failure_wait=5000,
        proxy_read_timeout=0,
        proxy_refresh_interval=30_000,
        proxy_write_timeout=5000,
    ),
    # Listeners always have this option, as all of Go's: a member that was just stopped must be able
    # to start.
    "socket-reuse-address": UnsupportedFlag(parsers.boolean, None),
}

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
