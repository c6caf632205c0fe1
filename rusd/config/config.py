"""`Config`, the flags of one member: frozen, typed, and the only table of the flags rusd serves.

A field has the name of its flag with `_` for `-`, and etcd's default. Its metadata holds
the parser, the help text and older spellings. Everything else follows from this table: reading,
checks and the text of `--help`.

Units: `heartbeat_interval` and `election_timeout` are milliseconds as in etcd; every other time is
in seconds. URLs are sorted tuples.
"""

import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rusd.base.log_rotation import Rotation
from rusd.base.logs import LEVELS
from rusd.base.urls import Url
from rusd.config import parsers

T = TypeVar("T")

DEFAULT_NAME = "default"
DEFAULT_SNAPSHOT_COUNT = 10_000
#: Milliseconds; a longer election timeout would leave a cluster without a leader for too long.
MAX_ELECTION_TIMEOUT = 50_000
HOUR = 3600.0


class ConfigError(Exception):
    """The configuration cannot be used; one line that says why. The process exits with 1."""


class UsageError(ConfigError):
    """The command line itself cannot be read. The process exits with 2."""


class Flag(NamedTuple):
    """Name, parser, default and description of one flag."""

    name: str
    parse: parsers.Parser
    default: Any
    group: str
    help: str
    #: Older spellings that still work.
    aliases: tuple[str, ...] = ()

    @property
    def is_bool(self) -> bool:
        """Bool flags may stand without a value."""
        return self.parse is parsers.boolean


def _flag(default: T, parse: parsers.Parser, group: str, text: str, *aliases: str) -> T:
    metadata = {"parse": parse, "group": group, "help": text, "aliases": aliases}
    made: T = field(default=default, metadata=metadata)
    return made


@dataclass(frozen=True, kw_only=True)
class Config:
    """The configuration of one member (`check.py` refuses contradictions)."""

    name: str = _flag(DEFAULT_NAME, parsers.text, "Member", "Human-readable name of this member.")
    data_dir: str = _flag("", parsers.text, "Member", "Data directory; empty: <name>.etcd.")
    wal_dir: str = _flag(
        "", parsers.text, "Member", "Directory of the Raft journal; empty: in the data directory."
    )
    snapshot_count: int = _flag(
        DEFAULT_SNAPSHOT_COUNT,
        parsers.unsigned,
        "Member",
        "Applied entries after which the Raft journal is shortened.",
    )
    snapshot_catchup_entries: int = _flag(
        5000,
        parsers.unsigned,
        "Member",
        "Entries kept in the journal for members that lag.",
        "experimental-snapshot-catchup-entries",
        "experimental-snapshot-catch-up-entries",
    )
    heartbeat_interval: int = _flag(
        100, parsers.unsigned, "Member", "Milliseconds between two heartbeats of the leader."
    )
    election_timeout: int = _flag(
        1000, parsers.unsigned, "Member", "Milliseconds without a leader before an election."
    )
    initial_election_tick_advance: bool = _flag(
        True, parsers.boolean, "Member", "Shorten the first election timeout after a start."
    )
    listen_peer_urls: tuple[Url, ...] = _flag(
        (Url("http://localhost:2380"),), parsers.urls, "Member", "URLs to accept other members on."
    )
    listen_client_urls: tuple[Url, ...] = _flag(
        (Url("http://localhost:2379"),), parsers.urls, "Member", "URLs to accept clients on."
    )
    listen_client_http_urls: tuple[Url, ...] = _flag(
        (),
        parsers.urls,
        "Member",
        "URLs to accept HTTP/1.1 clients on; the client URLs then serve gRPC only.",
    )
    socket_reuse_port: bool = _flag(
        False,
        parsers.boolean,
        "Member",
        "Listen on TCP ports that others share in the same way (SO_REUSEPORT).",
    )
    quota_backend_bytes: int = _flag(
        0, parsers.signed, "Member", "Store size that raises NOSPACE; 0: 2 GiB, negative: no limit."
    )
    max_txn_ops: int = _flag(
        128, parsers.unsigned, "Member", "Operations allowed in one transaction."
    )
    max_request_bytes: int = _flag(
        1_572_864, parsers.unsigned, "Member", "Largest client request in bytes."
    )
    max_concurrent_streams: int = _flag(
        2**32 - 1, parsers.unsigned32, "Member", "Streams a client connection may have open."
    )
    client_memory_bytes: int = _flag(
        0,
        parsers.unsigned,
        "Member",
        "Memory for unfinished requests and unread answers of all clients;"
        " 0: an eighth of the machine's or container's, 32 to 256 MiB.",
    )
    grpc_keepalive_min_time: float = _flag(
        5.0, parsers.duration, "Member", "Shortest interval at which clients may ping."
    )
    grpc_keepalive_interval: float = _flag(
        7200.0, parsers.duration, "Member", "Interval of pings to a silent client; 0: none."
    )
    grpc_keepalive_timeout: float = _flag(
        20.0, parsers.duration, "Member", "Wait for the answer to such a ping."
    )
    compaction_batch_limit: int = _flag(
        1000,
        parsers.signed,
        "Member",
        "Versions removed in one batch of a compaction; 0: 1000.",
        "experimental-compaction-batch-limit",
    )
    compaction_sleep_interval: float = _flag(
        0.01,
        parsers.duration,
        "Member",
        "Pause between two such batches.",
        "experimental-compaction-sleep-interval",
    )
    watch_progress_notify_interval: float = _flag(
        600.0,
        parsers.duration,
        "Member",
        "Interval of progress notifications to idle watches.",
        "experimental-watch-progress-notify-interval",
    )
    warning_apply_duration: float = _flag(
        0.1,
        parsers.duration,
        "Member",
        "An apply that takes longer is logged.",
        "experimental-warning-apply-duration",
    )
    warning_unary_request_duration: float = _flag(
        0.3,
        parsers.duration,
        "Member",
        "A unary request that takes longer is logged.",
        "experimental-warning-unary-request-duration",
    )

    backup_interval: float = _flag(
        0.0,
        parsers.duration,
        "Backup",
        "Interval at which the leader makes a snapshot of etcd's form; 0: never; not etcd's.",
    )
    backup_dir: str = _flag(
        "",
        parsers.text,
        "Backup",
        "Directory of the backups, shared by all members or one for each, or s3://BUCKET/PREFIX;"
        " not etcd's.",
    )
    backup_retention: str = _flag(
        "count=24",
        parsers.text,
        "Backup",
        "Backups to keep: count=N, age=TIME or both with a comma; empty: all; not etcd's.",
    )

    backup_archive_interval: float = _flag(
        0.0,
        parsers.duration,
        "Backup",
        "Interval at which the leader adds committed entries to the backups, for a restore to any"
        " revision; 0: never; not etcd's.",
    )

    initial_advertise_peer_urls: tuple[Url, ...] = _flag(
        (Url("http://localhost:2380"),),
        parsers.urls,
        "Clustering",
        "This member's peer URLs as other members reach them.",
    )
    advertise_client_urls: tuple[Url, ...] = _flag(
        (Url("http://localhost:2379"),),
        parsers.urls,
        "Clustering",
        "This member's client URLs as clients reach them.",
    )
    initial_cluster: str = _flag(
        "",
        parsers.text,
        "Clustering",
        "name=peer URL of every bootstrap member, comma-separated; empty: this member alone.",
    )
    initial_cluster_state: str = _flag(
        "new",
        parsers.choice("new", "existing"),
        "Clustering",
        "'new' to begin a cluster, 'existing' to join one.",
    )
    initial_cluster_token: str = _flag(
        "etcd-cluster", parsers.text, "Clustering", "Tells clusters with equal URLs apart."
    )
    discovery_endpoints: tuple[str, ...] = _flag(
        (),
        parsers.strings,
        "Clustering",
        "Client URLs of another etcd, in which the members of a new cluster find each other.",
    )
    discovery_token: str = _flag(
        "", parsers.text, "Clustering", "Name of the new cluster in that etcd."
    )
    discovery_dial_timeout: float = _flag(
        2.0, parsers.duration, "Clustering", "Wait for a connection to that etcd."
    )
    discovery_request_timeout: float = _flag(
        5.0, parsers.duration, "Clustering", "Wait for its answer."
    )
    discovery_insecure_transport: bool = _flag(
        True, parsers.boolean, "Clustering", "Dial endpoints without a scheme in plaintext."
    )
    discovery_insecure_skip_tls_verify: bool = _flag(
        False, parsers.boolean, "Clustering", "Accept any certificate of that etcd."
    )
    discovery_cert: str = _flag("", parsers.text, "Clustering", "Certificate to dial it with.")
    discovery_key: str = _flag("", parsers.text, "Clustering", "Its private key (PEM).")
    discovery_cacert: str = _flag(
        "", parsers.text, "Clustering", "Authorities for the certificate of that etcd (PEM)."
    )
    discovery_user: str = _flag(
        "", parsers.text, "Clustering", "User of that etcd, or USER:PASSWORD."
    )
    discovery_password: str = _flag("", parsers.text, "Clustering", "The user's password.")
    discovery_srv: str = _flag(
        "",
        parsers.text,
        "Clustering",
        "Domain whose SRV records name the members of a new cluster.",
    )
    discovery_srv_name: str = _flag(
        "", parsers.text, "Clustering", "Suffix of the service in those records."
    )
    strict_reconfig_check: bool = _flag(
        True, parsers.boolean, "Clustering", "Refuse membership changes that would lose the quorum."
    )
    pre_vote: bool = _flag(
        True,
        parsers.boolean,
        "Clustering",
        "Ask before an election whether it can be won.",
    )
    max_learners: int = _flag(
        1, parsers.signed, "Clustering", "Learners a cluster may have at a time."
    )
    auto_compaction_mode: str = _flag(
        "periodic",
        parsers.text,
        "Clustering",
        "'periodic' keeps a time of history, 'revision' a number of revisions.",
    )
    auto_compaction_retention: str = _flag(
        "0",
        parsers.text,
        "Clustering",
        "How much history to keep: 72h, 5m, a bare number of hours, or of revisions; 0: all.",
    )

    auth_token: str = _flag(
        "simple",
        parsers.text,
        "Auth",
        "Kind of tokens: simple, or jwt,sign-method=METHOD,pub-key=FILE,priv-key=FILE,ttl=TIME.",
    )
    auth_token_ttl: int = _flag(
        300, parsers.unsigned, "Auth", "Seconds that an unused simple token lives."
    )
    bcrypt_cost: int = _flag(10, parsers.unsigned, "Auth", "Cost of hashing a password, 4 to 31.")
    cert_file: str = _flag("", parsers.text, "Security", "Certificate of the client URLs (PEM).")
    key_file: str = _flag("", parsers.text, "Security", "Its private key (PEM).")
    audit_log: str = _flag(
        "",
        parsers.text,
        "Auth",
        "Write logins, changes of users and roles, and denied calls to a file, or 'stderr'; not"
        " etcd's.",
    )
    client_cert_auth: bool = _flag(
        False, parsers.boolean, "Security", "Require client certificates."
    )
    trusted_ca_file: str = _flag(
        "",
        parsers.text,
        "Security",
        "Authorities whose certificates clients may, and then must, come with (PEM).",
    )
    client_crl_file: str = _flag(
        "", parsers.text, "Security", "Revocation list for certificates of clients."
    )
    client_cert_allowed_hostname: tuple[str, ...] = _flag(
        (),
        parsers.strings,
        "Security",
        "Names or addresses; a client's certificate must be for one of them.",
    )
    peer_cert_file: str = _flag(
        "", parsers.text, "Security", "Certificate of the peer URLs, shown to peers too (PEM)."
    )
    peer_key_file: str = _flag("", parsers.text, "Security", "Its private key (PEM).")
    peer_client_cert_auth: bool = _flag(
        False, parsers.boolean, "Security", "Require certificates of peers."
    )
    peer_client_cert_file: str = _flag(
        "", parsers.text, "Security", "Certificate to dial peers with, if not --peer-cert-file."
    )
    peer_client_key_file: str = _flag("", parsers.text, "Security", "Its private key (PEM).")
    peer_trusted_ca_file: str = _flag(
        "",
        parsers.text,
        "Security",
        "Authorities whose certificates peers must come with, in both directions (PEM).",
    )
    peer_crl_file: str = _flag(
        "", parsers.text, "Security", "Revocation list for certificates of peers."
    )
    peer_cert_allowed_cn: tuple[str, ...] = _flag(
        (), parsers.strings, "Security", "Common names; a peer's certificate must have one of them."
    )
    peer_cert_allowed_hostname: tuple[str, ...] = _flag(
        (),
        parsers.strings,
        "Security",
        "Names or addresses; a peer's certificate must be for one of them.",
    )
    peer_skip_client_san_verification: bool = _flag(
        False,
        parsers.boolean,
        "Security",
        "Accept a peer from an address that its certificate does not name.",
        "experimental-peer-skip-client-san-verification",
    )
    peer_auto_tls: bool = _flag(
        False, parsers.boolean, "Security", "Make a certificate for the peer URLs at a first start."
    )
    auto_tls: bool = _flag(
        False,
        parsers.boolean,
        "Security",
        "Make a certificate for the client URLs at a first start.",
    )
    self_signed_cert_validity: int = _flag(
        1,
        parsers.unsigned,
        "Security",
        "Years a certificate of --auto-tls or --peer-auto-tls is good for.",
    )
    cipher_suites: tuple[str, ...] = _flag(
        (), parsers.strings, "Security", "Cipher suites of TLS 1.2, by their IANA names."
    )
    tls_min_version: str = _flag("TLS1.2", parsers.text, "Security", "TLS1.2 or TLS1.3.")
    tls_max_version: str = _flag("", parsers.text, "Security", "The same; empty: the newest.")
    cors: tuple[str, ...] = _flag(
        (),
        parsers.origins,
        "Security",
        "Origins whose web pages may call this member: * or URLs. Without it, all may read what GET"
        " answers, and none may call.",
    )
    host_whitelist: tuple[str, ...] = _flag(
        ("*",),
        parsers.strings,
        "Security",
        "Names by which HTTP clients without TLS may address this member, against DNS rebinding.",
    )
    enable_grpc_gateway: bool = _flag(
        True, parsers.boolean, "Security", "Serve the API as JSON over HTTP at /v3/."
    )
    enable_console: bool = _flag(
        True,
        parsers.boolean,
        "Security",
        "Serve the web console at /console/, unless /v3/ is not served; not etcd's.",
    )
    console_read_only: bool = _flag(
        False,
        parsers.boolean,
        "Security",
        "Refuse what the web console asks to change; not etcd's.",
    )

    enable_pprof: bool = _flag(
        False,
        parsers.boolean,
        "Monitoring",
        "Show what every thread and task is doing at /debug/stacks (Go's profiles are not served).",
    )
    listen_metrics_urls: tuple[Url, ...] = _flag(
        (), parsers.urls, "Monitoring", "URLs that answer /metrics and /health only."
    )
    metrics: str = _flag(
        "basic",
        parsers.choice("basic", "extensive"),
        "Monitoring",
        "'extensive' adds histograms of gRPC calls.",
    )

    logger: str = _flag("zap", parsers.text, "Logging", "Only 'zap', the shape of etcd's log.")
    log_level: str = _flag(
        "info",
        parsers.folded(parsers.choice(*LEVELS)),
        "Logging",
        "Least level that is written: debug, info, warn, error, panic, fatal.",
    )
    log_format: str = _flag("json", parsers.text, "Logging", "'json' or 'console'.")
    log_outputs: tuple[str, ...] = _flag(
        ("default",),
        parsers.strings,
        "Logging",
        "'default' (stderr), 'stderr', 'stdout', 'systemd/journal', or files.",
    )
    enable_log_rotation: bool = _flag(
        False, parsers.boolean, "Logging", "Rename the file of --log-outputs when it is full."
    )
    log_rotation_config_json: str = _flag(
        '{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}',
        parsers.text,
        "Logging",
        "When it is full (MiB), which old files are kept (days, number), local time in their"
        " names, gzip.",
    )

    corrupt_check_time: float = _flag(
        0.0,
        parsers.duration,
        "Corruption",
        "Interval at which the leader compares its data with the other members'; 0: never.",
        "experimental-corrupt-check-time",
    )
    compact_hash_check_time: float = _flag(
        60.0,
        parsers.duration,
        "Corruption",
        "Interval at which the leader looks for a new compaction to compare at.",
        "experimental-compact-hash-check-time",
    )
    experimental_initial_corrupt_check: bool = _flag(
        False,
        parsers.boolean,
        "Corruption",
        "Compare the data with the other members' before serving clients.",
    )
    experimental_compact_hash_check_enabled: bool = _flag(
        False,
        parsers.boolean,
        "Corruption",
        "Compare the data after compactions.",
    )
    feature_gates: tuple[str, ...] = _flag(
        (),
        parsers.feature_gates,
        "Corruption",
        "InitialCorruptCheck=true and CompactHashCheck=true are the two flags above. "
        "SetMemberLocalAddr=true: peers are dialled from the first address advertised to them.",
    )

    force_new_cluster: bool = _flag(
        False,
        parsers.boolean,
        "Unsafe",
        "Continue as a cluster of one with this member's data, after the majority is lost.",
    )
    unsafe_no_fsync: bool = _flag(
        False, parsers.boolean, "Unsafe", "Do not sync the journal: a power cut loses data."
    )

    def __post_init__(self) -> None:
        """Parse URLs that were given as text. Raises ValueError if one is not a URL."""
        for item in fields(self):
            if item.metadata["parse"] is parsers.urls:
                urls = tuple(map(Url, getattr(self, item.name)))
                object.__setattr__(self, item.name, urls)

    @property
    def initial_corrupt_check(self) -> bool:
        """Whether data is compared with peers before serving, by the flag or its feature gate."""
        return self.experimental_initial_corrupt_check or self._gate("InitialCorruptCheck")

    @property
    def compact_hash_check(self) -> bool:
        """Whether data is compared after compactions, by the flag or its feature gate."""
        return self.experimental_compact_hash_check_enabled or self._gate("CompactHashCheck")

    @property
    def set_member_local_address(self) -> bool:
        """Whether peers are dialled from the address that this member advertises."""
        return self._gate("SetMemberLocalAddr")

    def _gate(self, name: str) -> bool:
        return name in self.feature_gates or "AllAlpha" in self.feature_gates

    @property
    def uses_discovery(self) -> bool:
        """Whether the initial cluster is found by discovery."""
        return bool(self.discovery_endpoints or self.discovery_srv)

    @property
    def log_rotation(self) -> Rotation | None:
        """Rotation of the log file, or None. Raises ConfigError if its JSON is malformed."""
        if not self.enable_log_rotation:
            return None
        try:
            return parsers.rotation(self.log_rotation_config_json)
        except ValueError as error:
            raise ConfigError(str(error)) from None

    @property
    def client_urls(self) -> tuple[Url, ...]:
        """Every URL that accepts clients, over gRPC or HTTP/1.1."""
        return (*self.listen_client_urls, *self.listen_client_http_urls)

    @property
    def host_names(self) -> frozenset[str]:
        """The hosts by which clients address this member, as far as flags name them."""
        urls = (*self.client_urls, *self.advertise_client_urls)
        return frozenset((*self.host_whitelist, *(url.host for url in urls)))

    @property
    def data_path(self) -> Path:
        """The data directory, with etcd's default filled in."""
        return Path(self.data_dir or f"{self.name}.etcd")

    @property
    def member_path(self) -> Path:
        """The directory below which this member keeps its files (the journal may lie elsewhere)."""
        return self.data_path / "member"

    @property
    def identity_path(self) -> Path:
        """The file of the member's ids. It is written last at a first start."""
        return self.member_path / "identity"

    @property
    def wal_path(self) -> Path:
        """The directory of the Raft journal."""
        return Path(self.wal_dir) if self.wal_dir else self.member_path / "wal"

    @property
    def initial_peers(self) -> dict[str, tuple[Url, ...]]:
        """`initial_cluster` as name -> sorted peer URLs; ConfigError if it is malformed.

        Unset, it is this member alone under its advertised peer URLs.
        """
        if not self.initial_cluster:
            return {self.name: self.initial_advertise_peer_urls}
        found: dict[str, list[Url]] = {}
        for part in filter(None, self.initial_cluster.split(",")):
            name, _, address = part.partition("=")
            try:
                found.setdefault(name, []).append(Url(address))
            except ValueError as error:
                raise ConfigError(f"error setting up initial cluster: {error}") from None
        return {name: tuple(sorted(addresses)) for name, addresses in found.items()}

    @property
    def backup_bucket(self) -> tuple[str, str] | None:
        """Bucket and prefix of the backups; None if they go to a directory."""
        if not self.backup_dir.startswith("s3://"):
            return None
        bucket, _, prefix = self.backup_dir.removeprefix("s3://").partition("/")
        prefix = prefix.strip("/")
        return bucket, prefix + "/" if prefix else ""

    @property
    def backups_kept(self) -> tuple[int | None, float | None]:
        """The number of backups to keep, and seconds; None: without end. Raises ConfigError."""
        try:
            return parsers.backup_retention(self.backup_retention)
        except ValueError as error:
            raise ConfigError(f"--backup-retention {self.backup_retention!r}: {error}") from None

    @property
    def retention(self) -> float:
        """History to keep: seconds (periodic) or revisions (revision); 0: no auto-compaction.

        A bare number counts hours in periodic mode.
        """
        text = self.auto_compaction_retention or "0"
        periodic = self.auto_compaction_mode == "periodic"
        # (A number of hours above Go's longest duration is refused like an invalid one.)
        most = parsers.LONGEST // (3600 * 10**9) if periodic else parsers.LONGEST
        number = re.fullmatch(r"\+?0*([0-9]{1,19})", text)
        if number and int(number[1]) <= most:
            return float(number[1]) * (HOUR if periodic else 1)
        if self.auto_compaction_mode == "revision":
            raise ConfigError(f"--auto-compaction-retention {text!r} must be a number of revisions")
        try:
            return parsers.duration(text)
        except ValueError:
            raise ConfigError(
                f"error parsing --auto-compaction-retention: invalid duration {text!r}"
            ) from None


#: Every flag rusd serves, in the order of the help text.
FLAGS: tuple[Flag, ...] = tuple(
    Flag(
        item.name.replace("_", "-"),
        item.metadata["parse"],
        item.default,
        item.metadata["group"],
        item.metadata["help"],
        item.metadata["aliases"],
    )
    for item in fields(Config)
)
