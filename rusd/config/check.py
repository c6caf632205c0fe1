"""Contradictions between flags, refused before anything is opened or bound.

`check` covers flags that apply at every start, `check_bootstrap` those of the first start, before
the member has a data directory: later etcd ignores the initial cluster. Both raise ConfigError.
"""

from collections.abc import Mapping
from pathlib import Path

from rusd.base.logs import FORMATS, JOURNAL, STREAMS
from rusd.base.urls import Url, differing
from rusd.config import parsers, tls
from rusd.config.config import MAX_ELECTION_TIMEOUT, Config, ConfigError

MAX_PORT = 65535
_CLIENT_FLAGS = ("listen-client-urls", "listen-client-http-urls")


def check(config: Config) -> None:
    """Refuse a configuration that cannot work, at any start."""
    _check_logging(config)
    _check_urls(config)
    _check_times(config)
    _check_directories(config)
    _check_discovery(config)
    _check_backups(config)
    if (reason := tls.contradiction(config)) is not None:
        raise ConfigError(reason)
    if config.auto_compaction_mode not in ("periodic", "revision"):
        raise ConfigError(f'unknown auto-compaction-mode "{config.auto_compaction_mode}"')
    if config.retention < 0:
        raise ConfigError("--auto-compaction-retention must not be negative")
    for name in ("max_txn_ops", "max_request_bytes", "max_concurrent_streams"):
        if getattr(config, name) == 0:
            raise ConfigError(f"--{name.replace('_', '-')} must be >0")
    if not config.pre_vote:
        raise ConfigError(
            "--pre-vote=false is not possible: rusd holds no election without PreVote"
        )
    if config.compact_hash_check_time <= 0:
        raise ConfigError("--compact-hash-check-time must be >0")
    if config.compaction_batch_limit < 0:
        raise ConfigError("--compaction-batch-limit must not be negative")


def _check_logging(config: Config) -> None:
    if config.logger != "zap":
        raise ConfigError(f'unknown logger option "{config.logger}"')
    if config.log_format not in FORMATS:
        raise ConfigError(f'unknown log format "{config.log_format}": json or console')
    outputs = sorted(config.log_outputs)
    if "default" in outputs and len(outputs) > 1:
        raise ConfigError('--log-outputs: multi logoutput for "default" is not supported yet')
    if JOURNAL in outputs and len(outputs) > 1:
        raise ConfigError(
            f"running with {JOURNAL} but other '--log-outputs' values are configured: {outputs}"
        )
    if config.log_rotation is not None:
        files = [each for each in outputs if each not in STREAMS]
        if len(files) > 1 or (len(outputs) == 1 and not files):
            raise ConfigError(
                "--log-outputs requires a single file path when --log-rotate-config-json is defined"
            )


def _check_discovery(config: Config) -> None:
    given = (config.initial_cluster, config.discovery_endpoints, config.discovery_srv)
    if len([each for each in given if each]) > 1:
        raise ConfigError(
            "multiple discovery or bootstrap flags are set. "
            'Choose one of "initial-cluster", "discovery-endpoints" or "discovery-srv"'
        )
    if bool(config.discovery_token) != bool(config.discovery_endpoints):
        raise ConfigError("both --discovery-token and --discovery-endpoints must be set")
    if not all(each.strip() for each in config.discovery_endpoints):
        raise ConfigError("--discovery-endpoints must not contain empty endpoints")


def _check_backups(config: Config) -> None:
    if config.backup_interval and config.backup_interval < 1:
        raise ConfigError("--backup-interval must be at least 1s, or 0")
    if config.backup_archive_interval and config.backup_archive_interval < 1:
        raise ConfigError("--backup-archive-interval must be at least 1s, or 0")
    if config.backup_archive_interval and not config.backup_interval:
        raise ConfigError("--backup-archive-interval needs --backup-interval and --backup-dir")
    if bool(config.backup_interval) != bool(config.backup_dir):
        raise ConfigError("both --backup-interval and --backup-dir must be set")
    _ = config.backups_kept
    if config.backup_bucket is not None:
        if not config.backup_bucket[0]:
            raise ConfigError("--backup-dir must name a bucket: s3://BUCKET/PREFIX")
    elif config.backup_dir:
        taken = {config.data_path.absolute(), config.wal_path.absolute()}
        backups = Path(config.backup_dir).absolute()
        for directory in sorted(taken & {backups, *backups.parents}):
            raise ConfigError(
                f"--backup-dir must not lie in {directory}: backups are for when it is lost"
            )


def _check_times(config: Config) -> None:
    heartbeat, election = config.heartbeat_interval, config.election_timeout
    if heartbeat == 0:
        raise ConfigError("--heartbeat-interval must be >0 (set to 0ms)")
    if election == 0:
        raise ConfigError("--election-timeout must be >0 (set to 0ms)")
    if 5 * heartbeat > election:
        raise ConfigError(
            f"--election-timeout[{election}ms] should be at least 5 times "
            f"--heartbeat-interval[{heartbeat}ms]"
        )
    if election > MAX_ELECTION_TIMEOUT:
        raise ConfigError(
            f"--election-timeout[{election}ms] is too long, "
            f"it should be at most {MAX_ELECTION_TIMEOUT}ms"
        )
    if config.watch_progress_notify_interval <= 0:
        raise ConfigError("--watch-progress-notify-interval must be >0")


def _check_directories(config: Config) -> None:
    if not config.wal_dir:
        return
    wal = config.wal_path.absolute()
    for taken in (config.data_path.absolute(), config.member_path.absolute()):
        if wal == taken:
            raise ConfigError(f"--wal-dir must be a directory of its own, not {taken}")


def _check_urls(config: Config) -> None:
    peer = {"listen-peer-urls": config.listen_peer_urls}
    listening = {
        **peer,
        "listen-client-urls": config.listen_client_urls,
        "listen-client-http-urls": config.listen_client_http_urls,
        "listen-metrics-urls": config.listen_metrics_urls,
    }
    advertised_peer = {"initial-advertise-peer-urls": config.initial_advertise_peer_urls}
    advertised = {**advertised_peer, "advertise-client-urls": config.advertise_client_urls}
    for flag, urls in {**listening, **advertised}.items():
        if not urls and flag not in ("listen-metrics-urls", "listen-client-http-urls"):
            raise ConfigError(f"--{flag} must not be empty")
    for flag, urls in {**peer, **advertised_peer}.items():
        for url in urls:
            _check_peer_scheme(flag, url)
    for flag, url in _tcp(listening):
        if url.host != "localhost" and not parsers.is_ip(url.host):
            raise ConfigError(f"--{flag}: expected IP in URL for binding ({url})")
        if url.port > MAX_PORT:
            raise ConfigError(f"--{flag}: address {url.port}: invalid port ({url})")
    for flag, url in _tcp(advertised):
        if not url.host:
            raise ConfigError(f'--{flag} "{url}" must be "host:port"')
    _check_no_address_twice(listening)


def _tcp(flags: Mapping[str, tuple[Url, ...]]) -> list[tuple[str, Url]]:
    """Yield the flag and URL of every URL that is not a unix socket."""
    pairs = [(flag, url) for flag, urls in flags.items() for url in urls]
    return [(flag, url) for flag, url in pairs if not url.is_unix]


def _check_peer_scheme(flag: str, url: Url) -> None:
    if url.scheme == "unixs":
        raise ConfigError(f"--{flag}: rusd does not support {url.scheme} URLs yet ({url})")


def _check_no_address_twice(listening: Mapping[str, tuple[Url, ...]]) -> None:
    """Refuse an address under two flags; the client URLs may have http and https on one."""
    taken: dict[tuple[str, int], tuple[str, Url]] = {}
    for flag, urls in listening.items():
        for url in urls:
            if not url.is_unix and not url.port:
                continue
            first, same = taken.setdefault(url.address, (flag, url))
            if (first, same) == (flag, url) or (first == flag and flag in _CLIENT_FLAGS):
                continue
            if first == flag:
                raise ConfigError(f"--{flag}: {same} and {url} are one address")
            if (first, flag) == _CLIENT_FLAGS:
                raise ConfigError(f"cannot bind both --{first} and --{flag} on the same url {url}")
            raise ConfigError(f"--{first} and --{flag} both listen on {url}")


def check_bootstrap(config: Config) -> None:
    """Refuse an initial cluster that this member cannot be part of, at a first start."""
    if not config.name or set(config.name) & set(",="):
        raise ConfigError(f'--name "{config.name}" must not be empty nor contain "," or "="')
    peers = config.initial_peers
    if config.name not in peers:
        raise ConfigError(
            f'couldn\'t find local name "{config.name}" in the initial cluster configuration'
        )
    everyone = [url for urls in peers.values() for url in urls]
    if len(set(everyone)) < len(everyone):
        raise ConfigError(f"initial cluster {config.initial_cluster} has duplicate url")
    for url in everyone:
        _check_peer_scheme("initial-cluster", url)
    if config.initial_cluster_state == "new":
        _check_own_urls(config, peers[config.name])


def _check_own_urls(config: Config, listed: tuple[Url, ...]) -> None:
    """Refuse a member of a new cluster that is not listed under the addresses it advertises."""
    advertised = config.initial_advertise_peer_urls
    reason = differing(advertised, listed)
    if reason is None:
        return
    only_listed = sorted(set(listed) - set(advertised))
    if only_listed:
        raise ConfigError(
            f"--initial-cluster has {config.name}={','.join(only_listed)} but missing from "
            f"--initial-advertise-peer-urls={','.join(advertised)} ({reason})"
        )
    raise ConfigError(
        f"--initial-advertise-peer-urls has {','.join(sorted(set(advertised) - set(listed)))} "
        f"but missing from --initial-cluster={config.initial_cluster}"
    )
