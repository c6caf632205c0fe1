"""Flags, environment and YAML file: what is read, what wins, what is refused."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

import rusd
from rusd.base.log_rotation import Rotation
from rusd.config import parsers
from rusd.config.config import FLAGS, Config, ConfigError, UsageError
from rusd.config.help import help_text
from rusd.config.load import KNOWN, Loaded, load, parse_arguments
from rusd.config.unsupported_flags import OLD_SPELLINGS, UNSUPPORTED, WITHOUT_EFFECT


def loaded(*argv: str, environ: Mapping[str, str] | None = None) -> Loaded:
    return load(parse_arguments(argv), environ or {})


def config(*argv: str, environ: Mapping[str, str] | None = None) -> Config:
    return loaded(*argv, environ=environ).config


def from_yaml(tmp_path: Path, text: str) -> Loaded:
    path = tmp_path / "etcd.yaml"
    path.write_text(text)
    return loaded("--config-file", str(path))


# -- defaults ------------------------------------------------------------------------------------


def test_without_flags_the_defaults_are_etcds() -> None:
    default = config()
    assert default.name == "default"
    assert default.data_path == Path("default.etcd")
    assert default.wal_path == Path("default.etcd/member/wal")
    assert default.listen_client_urls == default.advertise_client_urls
    assert default.listen_client_urls == ("http://localhost:2379",)
    assert default.listen_peer_urls == ("http://localhost:2380",)
    assert default.initial_peers == {"default": ("http://localhost:2380",)}
    assert (default.heartbeat_interval, default.election_timeout) == (100, 1000)
    assert (default.snapshot_count, default.snapshot_catchup_entries) == (10_000, 5_000)
    assert (default.max_txn_ops, default.max_request_bytes) == (128, 1_572_864)
    assert default.max_concurrent_streams == 4_294_967_295
    assert default.watch_progress_notify_interval == 600.0
    assert default.retention == 0.0


def test_every_field_of_the_configuration_is_a_flag_and_every_flag_a_field() -> None:
    names = [item.name.replace("_", "-") for item in dataclasses.fields(Config)]
    assert names == [flag.name for flag in FLAGS]
    assert config() == Config()


@pytest.mark.parametrize(
    "flag",
    ["--experimental-initial-corrupt-check", "--feature-gates=InitialCorruptCheck=true"],
)
def test_the_initial_corruption_check_has_two_spellings(flag: str) -> None:
    assert config(flag).initial_corrupt_check
    assert not config().initial_corrupt_check


@pytest.mark.parametrize(
    "flag",
    ["--experimental-compact-hash-check-enabled", "--feature-gates=CompactHashCheck=true"],
)
def test_the_check_of_compactions_has_two_spellings(flag: str) -> None:
    assert config(flag).compact_hash_check
    assert not config("--feature-gates=CompactHashCheck=false").compact_hash_check


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Nonsense=true", "unrecognized feature gate: Nonsense"),
        ("CompactHashCheck", "missing bool value for CompactHashCheck"),
        ("CompactHashCheck=maybe", "invalid value of CompactHashCheck=maybe"),
    ],
)
def test_a_feature_gate_that_is_none_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        config(f"--feature-gates={text}")


def test_no_flag_stands_in_two_tables() -> None:
    served = {flag.name for flag in FLAGS}
    tables = [served, set(UNSUPPORTED), set(WITHOUT_EFFECT), set(OLD_SPELLINGS)]
    assert sum(map(len, tables)) == len(set().union(*tables))


def test_a_flag_without_effect_is_noted_when_it_is_set() -> None:
    note = "--max-wals is accepted but has no effect in rusd"
    assert loaded("--max-wals=7").notes == (note,)
    assert loaded("--initial-election-tick-advance=false").notes == ()


def test_help_names_every_flag_with_its_default() -> None:
    text = help_text()
    for flag in FLAGS:
        assert f"  --{flag.name} '" in text
    for name in (*UNSUPPORTED, *WITHOUT_EFFECT):
        assert f"  --{name}\n" in text
    assert "--grpc-keepalive-interval '2h'" in text
    assert "--data-dir '${name}.etcd'" in text


# -- command line --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv", [("-name", "a"), ("--name", "a"), ("-name=a",), ("--name=a",), ("--name=b", "-name=a")]
)
def test_flags_are_written_as_in_go_and_the_last_one_wins(argv: tuple[str, ...]) -> None:
    assert config(*argv).name == "a"


def test_a_value_may_hold_an_equals_sign_and_start_with_a_dash() -> None:
    assert config("--initial-cluster=a=http://h:1").initial_cluster == "a=http://h:1"
    assert config("--quota-backend-bytes", "-1").quota_backend_bytes == -1


def test_a_bool_flag_takes_its_value_only_after_an_equals_sign() -> None:
    assert config("--unsafe-no-fsync").unsafe_no_fsync
    assert not config("--strict-reconfig-check=false").strict_reconfig_check
    with pytest.raises(ConfigError, match='"false" is not a valid flag'):
        config("--strict-reconfig-check", "false")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--nope"], "flag provided but not defined: -nope"),
        (["---name", "x"], "bad flag syntax: ---name"),
        (["--=x"], "bad flag syntax: --=x"),
        (["--name"], "flag needs an argument: -name"),
        (["--heartbeat-interval", "x"], 'invalid value "x" for flag -heartbeat-interval'),
        (["--heartbeat-interval=-1"], 'invalid value "-1" for flag -heartbeat-interval'),
        (["--max-concurrent-streams=4294967296"], "value out of range"),
        (["--pre-vote=maybe"], 'invalid boolean value "maybe" for -pre-vote'),
        (["--grpc-keepalive-timeout=5"], "parse error"),
        (["--initial-cluster-state=old"], "must be one of new, existing"),
        (["--log-level=loud"], "must be one of debug, info"),
        (["--listen-peer-urls=ftp://127.0.0.1:1"], "URL scheme must be http"),
        (["--listen-peer-urls=127.0.0.1:1"], "URL scheme must be http"),
        (["--listen-peer-urls=http://127.0.0.1"], 'does not have the form "host:port"'),
        (["--listen-peer-urls=http://::1:1"], 'does not have the form "host:port"'),
        (["--listen-peer-urls=http://[::1:1"], "invalid URL"),
        (["--listen-peer-urls=http://127.0.0.1:1/x"], "must not contain a path"),
    ],
)
def test_an_unreadable_command_line_is_a_usage_error(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_arguments(argv)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_help_is_given_whatever_stands_behind_it() -> None:
    assert parse_arguments(["--name", "a", "--help", "--nope"]).help
    with pytest.raises(UsageError):
        parse_arguments(["--nope", "--help"])


def test_urls_are_sorted_and_each_kept_once() -> None:
    urls = "http://127.0.0.2:1,http://127.0.0.1:1, http://127.0.0.2:1"
    found = config("--listen-peer-urls", urls).listen_peer_urls
    assert found == ("http://127.0.0.1:1", "http://127.0.0.2:1")


def test_experimental_spellings_of_served_flags_still_work() -> None:
    new = config("--experimental-watch-progress-notify-interval=5s")
    assert new.watch_progress_notify_interval == 5.0
    assert config("--experimental-snapshot-catchup-entries=7").snapshot_catchup_entries == 7
    assert config("--experimental-compaction-batch-limit=9").compaction_batch_limit == 9


# -- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("10s", 10.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("250ms", 0.25),
        ("10us", 1e-5),
        ("10µs", 1e-5),
        ("3ns", 3e-9),
        ("-2s", -2.0),
    ],
)
def test_durations_are_parsed_as_by_go(text: str, seconds: float) -> None:
    assert parsers.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "1 s", "1d", "1h ", "--1s", "1e3s", "٣s"])
def test_what_go_calls_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="parse error"):
        parsers.duration(text)


@pytest.mark.parametrize(
    ("text", "number"), [("16", 16), ("0x10", 16), ("020", 16), ("0o20", 16), ("1_6", 16)]
)
def test_integers_are_written_in_gos_bases(text: str, number: int) -> None:
    assert parsers.unsigned(text) == number


@pytest.mark.parametrize("text", ["", "1.5", " 1", "1 ", "+1", "-1", "1e3", "089", "٣"])
def test_what_go_calls_no_unsigned_integer_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="parse error"):
        parsers.unsigned(text)


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.3, 5.0, 90.0, 600.0, 7200.0])
def test_a_duration_is_shown_as_it_can_be_read(seconds: float) -> None:
    assert parsers.duration(parsers.show_duration(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("mode", "text", "kept"),
    [
        ("periodic", "2", 7200.0),
        ("periodic", "5m", 300.0),
        ("periodic", "0", 0.0),
        ("revision", "1000", 1000.0),
    ],
)
def test_retention_is_hours_a_duration_or_revisions(mode: str, text: str, kept: float) -> None:
    flags = ("--auto-compaction-mode", mode, "--auto-compaction-retention", text)
    assert config(*flags).retention == kept


# -- environment ---------------------------------------------------------------------------------


def test_a_variable_stands_for_its_flag() -> None:
    variables = {"NAME": "a", "MAX_TXN_OPS": "9", "STRICT_RECONFIG_CHECK": "0"}
    found = config(environ={f"ETCD_{name}": value for name, value in variables.items()})
    assert (found.name, found.max_txn_ops, found.strict_reconfig_check) == ("a", 9, False)


def test_an_empty_variable_leaves_the_default() -> None:
    assert config(environ={"ETCD_NAME": ""}).name == "default"


def test_a_variable_shadowed_by_a_flag_is_refused_as_etcd_refuses_it() -> None:
    with pytest.raises(ConfigError, match="ETCD_NAME is shadowed by flag --name"):
        config("--name=a", environ={"ETCD_NAME": "b"})


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(ConfigError, match="for ETCD_HEARTBEAT_INTERVAL: parse error") as caught:
        config(environ={"ETCD_HEARTBEAT_INTERVAL": "x"})
    assert not isinstance(caught.value, UsageError)


def test_unknown_variables_are_noted_and_etcds_own_are_not() -> None:
    environ = {"ETCD_NOPE": "1", "ETCD_VERIFY": "all", "ETCDCTL_API": "3", "HOME": "/"}
    assert loaded(environ=environ).notes == ("unrecognized environment variable ETCD_NOPE",)


def test_a_variable_can_ask_for_what_is_not_supported_no_more_than_a_flag() -> None:
    with pytest.raises(ConfigError, match="does not support v2 discovery yet"):
        config(environ={"ETCD_DISCOVERY": "x"})


# -- YAML file -----------------------------------------------------------------------------------


def test_a_file_sets_flags_by_their_names(tmp_path: Path) -> None:
    found = from_yaml(
        tmp_path,
        """
        name: s1
        heartbeat-interval: 200
        election-timeout: 2000
        strict-reconfig-check: false
        listen-peer-urls: http://127.0.0.1:7,http://127.0.0.1:6
        log-outputs: [stderr, /tmp/x.log]
        auto-compaction-retention: "1"
        grpc-keepalive-min-time: 3000000000
        grpc-keepalive-timeout: 4s
        experimental-warning-apply-duration: 50000000
        client-transport-security: {cert-file: "", client-cert-auth: false}
        socket-options: {reuse-port: true, reuse-address: true}
        """,
    ).config
    assert found.socket_reuse_port
    assert found.name == "s1"
    assert (found.heartbeat_interval, found.election_timeout) == (200, 2000)
    assert not found.strict_reconfig_check
    assert found.listen_peer_urls == ("http://127.0.0.1:6", "http://127.0.0.1:7")
    assert found.log_outputs == ("stderr", "/tmp/x.log")
    assert found.retention == 3600.0
    assert (found.grpc_keepalive_min_time, found.grpc_keepalive_timeout) == (3.0, 4.0)
    assert found.warning_apply_duration == 0.05


def test_with_a_file_flags_and_variables_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("name: file\n")
    argv = ("--name", "flag", "--max-txn-ops", "1", "--config-file", str(path))
    found = loaded(*argv, environ={"ETCD_NAME": "env", "ETCD_PRE_VOTE": "x"})
    assert (found.config.name, found.config.max_txn_ops) == ("file", 128)
    assert "flags and environment are ignored" in found.notes[0]


def test_the_file_can_be_named_by_a_variable(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("name: file\n")
    assert config(environ={"ETCD_CONFIG_FILE": str(path)}).name == "file"


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert from_yaml(tmp_path, "").config == Config()


def test_keys_of_the_file_may_be_in_any_case(tmp_path: Path) -> None:
    text = "Data-Dir: d\nCLIENT-transport-security: {Auto-TLS: true}\n"
    found = from_yaml(tmp_path, text)
    assert found.config.data_dir == "d" and found.config.auto_tls
    assert not any("unrecognized" in note for note in found.notes)


@pytest.mark.parametrize(
    "key", ["listen-client-urls", "initial-cluster-state", "log-level", "auto-compaction-retention"]
)
def test_an_empty_text_in_the_file_leaves_the_default(tmp_path: Path, key: str) -> None:
    found = from_yaml(tmp_path, f'{key}: ""').config
    assert (found.listen_client_urls, found.initial_cluster_state, found.log_level) == (
        Config().listen_client_urls,
        "new",
        "info",
    )
    assert found.retention == 0


def test_unknown_keys_are_noted(tmp_path: Path) -> None:
    assert any("unrecognized key nope" in note for note in from_yaml(tmp_path, "nope: 1").notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [a", "is not valid YAML"),
        ("- a", "must map flag names to values"),
        ("x: " + "[" * 3000 + "]" * 3000, "is not valid YAML: it is nested too deeply"),
        ("initial-cluster-token: 2026-02-30", "is not valid YAML"),
        (f"snapshot-count: {'9' * 5000}", "is not valid YAML"),
        ("heartbeat-interval: x", "invalid value 'x' for heartbeat-interval"),
        ("heartbeat-interval: '100'", "wrong type"),
        ("heartbeat-interval: true", "wrong type"),
        ("heartbeat-interval: -1", "parse error"),
        ("name: true", "wrong type"),
        ("name: {a: b}", "wrong type"),
        ("pre-vote: 'true'", "must be true or false"),
        ("listen-client-urls: ftp://a", "URL scheme must be http"),
        ("election-timeout: 3", "should be at least 5 times"),
        ("peer-transport-security: {cert-file: a.pem}", "must both be present[key: , cert: a.pem]"),
        ("peer-transport-security: {nonsense: true}", "does not support this yet"),
        ("peer-transport-security: 5", "invalid peer-transport-security"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_yaml(tmp_path, text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*: No such file"):
        config("--config-file", str(tmp_path / "none"))


# -- flags rusd does not serve -------------------------------------------------------------------


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_would_break_a_promise_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--{name} is not possible: rusd does not support"):
        config(f"--{name}={'true' if KNOWN[name].is_bool else 'x'}")


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_etcds_default_of_an_unsupported_flag_is_accepted(name: str) -> None:
    default = UNSUPPORTED[name].default
    assert config(f"--{name}={'false' if default is False else default}") == Config()


@pytest.mark.parametrize(
    "flag",
    [
        "--memory-mlock",
        "--max-wals=4",
        "--backend-batch-interval=1s",
        "--backend-batch-limit=10",
        "--raft-read-timeout=1s",
        "--enable-distributed-tracing",
    ],
)
def test_what_has_no_effect_is_accepted_and_noted(flag: str) -> None:
    found = loaded(flag)
    assert found.config == Config()
    assert found.notes == (f"{flag.partition('=')[0]} is accepted but has no effect in rusd",)


@pytest.mark.parametrize(
    "flag",
    [
        "--max-wals=5",
        "--raft-read-timeout=5s",
        "--socket-reuse-address",
        "--backend-bbolt-freelist-type=map",
    ],
)
def test_etcds_defaults_and_what_rusd_does_anyway_are_accepted_silently(flag: str) -> None:
    assert loaded(flag) == Loaded(Config())


@pytest.mark.parametrize(
    ("flag", "note"),
    [
        (
            "--max-snapshots=10",
            "--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.",
        ),
        (
            "--v2-deprecation=gone",
            "--v2-deprecation is deprecated and scheduled for removal in v3.8. "
            "The default value is enforced, ignoring user input.",
        ),
        (
            "--bootstrap-defrag-threshold-megabytes=1000",
            "Skipping defragmentation: "
            "--bootstrap-defrag-threshold-megabytes has no effect in rusd",
        ),
    ],
)
def test_deprecated_flags_are_noted_in_the_words_of_etcd(flag: str, note: str) -> None:
    assert loaded(flag) == Loaded(Config(), (note,))


def test_a_withdrawn_stage_of_v2_deprecation_is_refused() -> None:
    text = 'invalid value "not-yet" for flag -v2-deprecation: invalid value "not-yet"'
    with pytest.raises(ConfigError, match=text):
        loaded("--v2-deprecation=not-yet")


def test_the_feature_gate_of_fast_keep_alives_is_accepted() -> None:
    # Without the gate etcd waits for the applied index before a renewal, as rusd does.
    assert loaded("--feature-gates=FastLeaseKeepAlive=false").config.feature_gates == ()


def test_an_election_without_prevote_is_refused() -> None:
    assert config("--pre-vote=true").pre_vote
    with pytest.raises(ConfigError, match="--pre-vote=false is not possible"):
        config("--pre-vote=false")


# -- rotation of the log -------------------------------------------------------------------------

ROTATED = ("--enable-log-rotation", "--log-outputs=/var/log/etcd.log")


def test_the_rotation_of_the_log_has_etcds_defaults() -> None:
    assert config("--log-outputs=/var/log/etcd.log").log_rotation is None
    assert config(*ROTATED).log_rotation == Rotation(100, 0, 0, False, False)


def test_the_rotation_of_the_log_is_json_with_unknown_keys_ignored() -> None:
    text = '{"maxsize": 1, "MaxBackups": 2, "maxage": null, "compress": true, "other": []}'
    found = config(*ROTATED, f"--log-rotation-config-json={text}").log_rotation
    assert found == Rotation(maxsize=1, maxbackups=2, compress=True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "improperly formatted log rotation config"),
        ('{"maxsize": true', "improperly formatted log rotation config"),
        ('{"maxsize": true}', "invalid log rotation config: maxsize is no int"),
        ('{"maxsize": -1}', "invalid log rotation config: maxsize is no int"),
        ('{"compress": 1}', "invalid log rotation config: compress is no bool"),
        ("[]", "invalid log rotation config"),
        ("[" * 100_000, "improperly formatted log rotation config"),
    ],
)
def test_a_malformed_rotation_is_refused_if_the_log_is_rotated(text: str, reason: str) -> None:
    assert config(f"--log-rotation-config-json={text}").log_rotation is None
    with pytest.raises(ConfigError, match=reason):
        config(*ROTATED, f"--log-rotation-config-json={text}")


@pytest.mark.parametrize("outputs", ["default", "stderr", "stdout", "a.log,b.log"])
def test_a_rotation_needs_one_file(outputs: str) -> None:
    with pytest.raises(ConfigError, match="--log-outputs requires a single file path"):
        config("--enable-log-rotation", f"--log-outputs={outputs}")


def test_a_rotated_file_may_stand_beside_a_stream() -> None:
    assert config("--enable-log-rotation", "--log-outputs=stderr,a.log").log_rotation


# -- who reads it --------------------------------------------------------------------------------


def test_no_other_room_reads_the_command_line_or_the_environment() -> None:
    """cli.py hands both to `load`; systemd's protocol is a variable of its own; `rusdutl`,
    `rusdctl` and the sub-commands that look at a cluster are other commands, with a parser in base.
    """
    root = Path(rusd.__file__).parent
    readers = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if re.search(r"\bos\.environ\b|\bgetenv\b|\bargparse\b", path.read_text())
    }
    commands = {f"{room}/command.py" for room in ("ctl", "diagnostics", "utl")}
    assert readers == {"cli.py", "base/command_line.py", "base/systemd.py"} | commands


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().name = "other"  # type: ignore[misc]


def test_origins_and_hosts_of_http_are_read(tmp_path: Path) -> None:
    assert (Config().cors, Config().host_whitelist, Config().enable_grpc_gateway) == (
        (),
        ("*",),
        True,
    )
    given = config(
        "--cors=https://a.example,http://b:8080",
        "--host-whitelist=a,localhost",
        "--enable-grpc-gateway=false",
    )
    assert given.cors == ("https://a.example", "http://b:8080")
    assert given.host_whitelist == ("a", "localhost")
    assert given.enable_grpc_gateway is False
    assert config("--cors=*").cors == ("*",)
    assert config("--cors=", "--host-whitelist=").host_whitelist == ()
    assert from_yaml(tmp_path, "cors: '*'\nhost-whitelist: a,b").config.host_whitelist == ("a", "b")


def test_the_console_is_served_and_may_write_unless_a_flag_says_otherwise(tmp_path: Path) -> None:
    assert (Config().enable_console, Config().console_read_only) == (True, False)
    given = config("--enable-console=false", "--console-read-only")
    assert (given.enable_console, given.console_read_only) == (False, True)
    assert config(environ={"ETCD_CONSOLE_READ_ONLY": "true"}).console_read_only
    assert not from_yaml(tmp_path, "enable-console: false").config.enable_console


@pytest.mark.parametrize(
    "origin", ["a", "a:1", "ftp://a", "http://", "http://a/path", "http://u@a"]
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(UsageError, match="is not an origin"):
        config(f"--cors={origin}")
