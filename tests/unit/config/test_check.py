"""Contradictions between flags: at every start, and those that matter for the first one only."""

import socket

import pytest

from rusd.config.check import check_bootstrap
from rusd.config.config import Config, ConfigError, UsageError
from rusd.config.load import load, parse_arguments


def config(*argv: str) -> Config:
    return load(parse_arguments(argv), {}).config


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["stray"], '"stray" is not a valid flag'),
        (["--", "--name"], '"--name" is not a valid flag'),
        (["--heartbeat-interval=0"], "--heartbeat-interval must be >0"),
        (["--election-timeout=0"], "--election-timeout must be >0"),
        (["--election-timeout=499"], "should be at least 5 times"),
        (["--election-timeout=50001"], "is too long"),
        (["--listen-client-urls=http://127.0.0.1:1"], "--advertise-client-urls is required"),
        (["--listen-peer-urls=http://example.org:1"], "expected IP in URL for binding"),
        (["--listen-peer-urls=http://:1"], "expected IP in URL for binding"),
        (["--listen-metrics-urls=http://example.org:1"], "expected IP in URL for binding"),
        (["--listen-peer-urls="], "--listen-peer-urls must not be empty"),
        (["--advertise-client-urls="], "--advertise-client-urls must not be empty"),
        (["--advertise-client-urls=http://:1"], 'must be "host:port"'),
        (["--initial-advertise-peer-urls=http://:1"], 'must be "host:port"'),
        (["--listen-peer-urls=http://localhost:2379"], "both listen on http://localhost:2379"),
        (
            ["--listen-peer-urls=https://127.0.0.1:1"],
            "cannot listen on TLS for 127.0.0.1:1: KeyFile and CertFile are not presented",
        ),
        (["--listen-peer-urls=HTTPS://127.0.0.1:1"], "cannot listen on TLS for 127.0.0.1:1"),
        (["--listen-peer-urls=unixs:///a"], "does not support unixs URLs yet"),
        (["--listen-peer-urls=http://127.0.0.1:99999"], "address 99999: invalid port"),
        (["--listen-peer-urls=http://[::1%25lo]:1"], "expected IP in URL for binding"),
        (["--auto-compaction-mode=x"], 'unknown auto-compaction-mode "x"'),
        (["--auto-compaction-retention=x"], "invalid duration 'x'"),
        (["--auto-compaction-retention=-1h"], "must not be negative"),
        (
            ["--auto-compaction-mode=revision", "--auto-compaction-retention=1h"],
            "must be a number of revisions",
        ),
        (["--logger=x"], 'unknown logger option "x"'),
        (["--log-format=x"], 'unknown log format "x"'),
        (["--log-outputs=default,stderr"], 'multi logoutput for "default"'),
        (["--data-dir=d", "--wal-dir=d"], "--wal-dir must be a directory of its own"),
        (["--data-dir=d", "--wal-dir=d/member"], "--wal-dir must be a directory of its own"),
        (["--max-request-bytes=0"], "--max-request-bytes must be >0"),
        (["--compaction-batch-limit=-1"], "--compaction-batch-limit must not be negative"),
        (["--auto-compaction-retention=99999999999999999999"], "invalid duration"),
        (["--auto-compaction-retention=2562048"], "invalid duration"),
        ([f"--auto-compaction-retention={'9' * 5000}"], "invalid duration"),
        (["--auto-compaction-retention=+"], "invalid duration"),
        (["--auto-compaction-retention=++1"], "invalid duration"),
    ],
)
def test_a_contradiction_is_a_configuration_error(argv: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(*argv)
    assert message in str(caught.value)
    assert not isinstance(caught.value, UsageError)


def test_the_limits_themselves_are_allowed() -> None:
    assert config("--election-timeout=500").election_timeout == 500
    assert config("--election-timeout=50000").election_timeout == 50_000


def test_values_that_mean_a_default_to_etcd_are_its_default() -> None:
    assert config("--compaction-batch-limit=0").compaction_batch_limit == 0
    assert config("--auto-compaction-retention=").retention == 0
    assert config("--auto-compaction-retention=+2").retention == 2 * 3600
    assert config("--auto-compaction-retention=2562047").retention == 2562047 * 3600
    assert config("--log-level=WARN").log_level == "warn"


def test_advertised_urls_may_be_names_and_listening_urls_any_ip() -> None:
    assert config(
        "--listen-client-urls=http://127.0.0.1:9", "--advertise-client-urls=http://h:9"
    ).advertise_client_urls == ("http://h:9",)
    assert config("--listen-peer-urls=http://[::1]:9").listen_peer_urls == ("http://[::1]:9",)
    config("--listen-peer-urls=http://127.0.0.1:0,http://127.0.0.2:0")


# -- bootstrap -----------------------------------------------------------------------------------

FIRST = "http://127.0.0.1:7"
OWN = f"--initial-advertise-peer-urls={FIRST}"
ADVERTISED = ("advertise-client", "initial-advertise-peer")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--initial-cluster=b=http://localhost:2380"], 'find local name "default"'),
        (["--initial-cluster=default"], "error setting up initial cluster"),
        (["--initial-cluster=default=http://a"], "error setting up initial cluster"),
        (
            ["--initial-cluster=default=http://localhost:2380,b=http://localhost:2380"],
            "has duplicate url",
        ),
        (
            [OWN, "--initial-cluster=default=http://127.0.0.1:8"],
            "has default=http://127.0.0.1:8 but missing from --initial-advertise-peer-urls",
        ),
        (
            [OWN + ",http://127.0.0.1:8", "--initial-cluster=default=http://127.0.0.1:7"],
            "has http://127.0.0.1:8 but missing from --initial-cluster",
        ),
        (["--name="], "must not be empty"),
        (["--name=a=b"], "must not be empty nor contain"),
        (
            ["--initial-cluster=default=http://localhost:2380,b=unixs:///a"],
            "does not support unixs URLs yet",
        ),
    ],
)
def test_a_first_start_needs_a_cluster_the_member_is_part_of(argv: list[str], message: str) -> None:
    loaded_config = config(*argv)
    with pytest.raises(ConfigError) as caught:
        check_bootstrap(loaded_config)
    assert message in str(caught.value)


def test_a_member_may_be_listed_under_another_name_of_the_same_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = {"name.test": "127.0.0.1", "127.0.0.1": "127.0.0.1"}
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *_, **__: [(2, 1, 6, "", (known[host], 0))]
    )
    flags = (OWN, "--initial-cluster=default=http://name.test:7,b=http://127.0.0.1:8")
    check_bootstrap(config(*flags))


def test_localhost_is_only_itself_as_in_etcd() -> None:
    with pytest.raises(ConfigError, match="but missing from --initial-advertise-peer-urls"):
        check_bootstrap(config(OWN, "--initial-cluster=default=http://localhost:7"))


def test_a_scheme_may_be_in_capitals_anywhere() -> None:
    check_bootstrap(config(OWN, "--initial-cluster=default=HTTP://127.0.0.1:7"))
    with pytest.raises(ConfigError, match="has duplicate url"):
        check_bootstrap(config(OWN, f"--initial-cluster=default={FIRST},b=HTTP://127.0.0.1:7"))


def test_what_etcd_advertises_is_accepted() -> None:
    for url in ("http://0.0.0.0:0", "http://127.0.0.1:0", "http://h:", "unix:///a", "unix://h:1"):
        client, peer = (config(f"--{kind}-urls={url}") for kind in ADVERTISED)
        assert client.advertise_client_urls == (url,)
        assert peer.initial_advertise_peer_urls == (url,)


def test_a_joining_member_need_not_advertise_what_is_listed() -> None:
    flags = (OWN, "--initial-cluster=default=http://127.0.0.1:8")
    check_bootstrap(config(*flags, "--initial-cluster-state=existing"))


def test_an_unset_initial_cluster_is_this_member_under_its_advertised_urls() -> None:
    alone = config("--name=a", OWN)
    check_bootstrap(alone)
    assert alone.initial_peers == {"a": ("http://127.0.0.1:7",)}


def test_a_member_may_have_several_peer_urls() -> None:
    cluster = "--initial-cluster=a=http://h:2,b=http://i:1,a=http://h:1"
    assert config(cluster).initial_peers == {
        "a": ("http://h:1", "http://h:2"),
        "b": ("http://i:1",),
    }


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (
            ("--discovery-srv=x", "--initial-cluster=default=http://127.0.0.1:7"),
            "multiple discovery or bootstrap flags are set",
        ),
        (
            ("--discovery-srv=x", "--discovery-endpoints=h:1", "--discovery-token=t"),
            "multiple discovery or bootstrap flags are set",
        ),
        (("--discovery-endpoints=h:1",), "both --discovery-token and --discovery-endpoints"),
        (("--discovery-token=t",), "both --discovery-token and --discovery-endpoints"),
        (
            ("--discovery-endpoints=h:1,,", "--discovery-token=t"),
            "--discovery-endpoints must not contain empty endpoints",
        ),
    ],
)
def test_flags_of_discovery_that_contradict_each_other_are_refused(
    flags: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        config(*flags)


# -- backups -------------------------------------------------------------------------------------

BACKUPS = ("--backup-interval=1h", "--backup-dir=/backups")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("count=7", (7, None)),
        ("age=168h", (None, 604800.0)),
        ("age=90m,count=1", (1, 5400.0)),
        ("", (None, None)),
    ],
)
def test_backups_are_kept_by_number_and_age(text: str, kept: tuple[int, float]) -> None:
    assert config(*BACKUPS, f"--backup-retention={text}").backups_kept == kept


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket/", ("bucket", "")),
        ("s3://bucket/a/b/", ("bucket", "a/b/")),
        ("/s3/bucket", None),
    ],
)
def test_backups_may_go_to_a_bucket(text: str, found: tuple[str, str] | None) -> None:
    assert config(BACKUPS[0], f"--backup-dir={text}").backup_bucket == found


def test_without_a_retention_a_number_of_backups_is_kept() -> None:
    assert config(*BACKUPS).backups_kept == (24, None)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (BACKUPS[:1], "both --backup-interval and --backup-dir must be set"),
        (BACKUPS[1:], "both --backup-interval and --backup-dir must be set"),
        (("--backup-interval=10ms", BACKUPS[1]), "must be at least 1s"),
        (("--backup-interval=-1h", BACKUPS[1]), "must be at least 1s"),
        ((BACKUPS[0], "--backup-dir=s3:///a"), "must name a bucket"),
        (("--backup-archive-interval=10s",), "needs --backup-interval and --backup-dir"),
        ((*BACKUPS, "--backup-archive-interval=10ms"), "must be at least 1s, or 0"),
        ((*BACKUPS, "--backup-archive-interval=-1s"), "must be at least 1s, or 0"),
        ((*BACKUPS, "--backup-retention=7"), "7 is neither count=N nor age=TIME"),
        ((*BACKUPS, "--backup-retention=count=0"), "value out of range"),
        ((*BACKUPS, "--backup-retention=count=1,count=2"), "count stands twice"),
        ((*BACKUPS, "--backup-retention=age=7d"), "parse error"),
        ((*BACKUPS, "--backup-retention=age=0s"), "age must be >0"),
        (
            (BACKUPS[0], "--data-dir=/data", "--backup-dir=/data/backups"),
            "must not lie in /data",
        ),
        ((BACKUPS[0], "--wal-dir=/wal", "--backup-dir=/wal"), "must not lie in /wal"),
    ],
)
def test_flags_of_backups_that_cannot_work_are_refused(flags: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        config(*flags)
