"""The log: etcd's shape, one line an event, and never an exception into the caller."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rusd.base import logs

log = logs.get_logger("rusd.test")
HERE = r"base/test_logs\.py:\d+"


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def lines(path: Path) -> list[dict[str, object]]:
    logs.flush()
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_is_json_with_etcds_keys_first_and_fields_after_them(path: Path) -> None:
    logs.configure("info", "json", [str(path)])
    log.info("became leader", extra={"fields": {"term": 7, "member": "a"}})
    [line] = lines(path)
    assert list(line) == ["level", "ts", "caller", "msg", "term", "member"]
    assert (line["level"], line["msg"], line["term"]) == ("info", "became leader", 7)
    assert re.fullmatch(HERE, str(line["caller"]))


def test_a_line_has_no_blanks_between_keys_and_values(path: Path) -> None:
    logs.configure("info", "json", [str(path)])
    log.info("x", extra={"fields": {"n": [1, 2]}})
    logs.flush()
    assert path.read_text().endswith('"msg":"x","n":[1,2]}\n')


def test_the_time_has_milliseconds_and_a_zone(path: Path) -> None:
    logs.configure("info", "json", [str(path)])
    log.info("x")
    stamp = str(lines(path)[0]["ts"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d{4})", stamp)


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["debug", "info", "warn", "error", "fatal"]),
        ("info", ["info", "warn", "error", "fatal"]),
        ("warn", ["warn", "error", "fatal"]),
        ("error", ["error", "fatal"]),
        ("panic", ["fatal"]),
        ("fatal", ["fatal"]),
    ],
)
def test_the_level_is_the_least_that_is_written(path: Path, level: str, written: list[str]) -> None:
    logs.configure(level, "json", [str(path)])
    for write in (log.debug, log.info, log.warning, log.error, log.critical):
        write("x")
    assert [line["level"] for line in lines(path)] == written


def test_an_exception_is_part_of_its_line(path: Path) -> None:
    logs.configure("info", "json", [str(path)])
    try:
        raise OSError("disk full")
    except OSError:
        log.exception("cannot write")
    [line] = lines(path)
    assert line["error"] == "OSError('disk full')"
    assert "test_logs.py" in str(line["stacktrace"])


def test_no_field_takes_the_place_of_the_message(path: Path) -> None:
    logs.configure("info", "json", [str(path)])
    log.info("true", extra={"fields": {"msg": "false", "level": "x", "n": 1}})
    [line] = lines(path)
    assert (line["msg"], line["level"], line["n"]) == ("true", "info", 1)


def test_what_json_cannot_say_is_written_as_text(path: Path) -> None:
    logs.configure("info", "json", [str(path)])
    endless: dict[str, object] = {}
    endless["self"] = endless
    log.info("bytes", extra={"fields": {"key": b"\xff", 5: Path("x")}})
    log.info("endless", extra={"fields": endless})
    log.info("surrogate \udcff")
    first, second, third = lines(path)
    assert (first["key"], first["5"]) == ("b'\\xff'", "x")
    assert second["msg"] == "endless" and "self" in str(second["fields"])
    assert third["msg"] == "surrogate \udcff"


def test_a_message_of_several_lines_stays_one_line(path: Path) -> None:
    logs.configure("info", "json", [str(path)])
    log.info("a\nb")
    assert [line["msg"] for line in lines(path)] == ["a\nb"]


def test_the_console_format_is_tab_separated(path: Path) -> None:
    logs.configure("info", "console", [str(path)])
    log.warning("slow %s", "disk \udcff", extra={"fields": {"took": 0.5}})
    logs.flush()
    parts = path.read_text().rstrip("\n").split("\t")
    assert parts[1] == "warn"
    assert re.fullmatch(HERE, parts[2])
    assert parts[3:] == ["slow disk \\udcff", '{"took": 0.5}']


def test_the_default_output_is_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json", ["default"])
    log.info("x")
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["msg"] == "x"


def test_every_output_gets_every_line(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = path.with_name("other")
    logs.configure("info", "json", ["stdout", "stderr", str(path), f"file://{other}"])
    log.info("x")
    for file in (path, other):
        assert [line["msg"] for line in lines(file)] == ["x"]
    for stream in capsys.readouterr():
        assert json.loads(stream)["msg"] == "x"


def test_of_libraries_only_warnings_are_written_at_any_level(path: Path) -> None:
    """HPACK alone has ten lines a request, some with the values of headers."""
    logs.configure("debug", "json", [str(path)])
    for name in ("hpack.hpack", "asyncio", "aiohttp.access"):
        library = logging.getLogger(name)
        library.debug("noise")
        library.info("noise")
        library.warning(name)
    log.debug("own")
    assert [line["msg"] for line in lines(path)] == [
        *("hpack.hpack", "asyncio", "aiohttp.access"),
        "own",
    ]


def test_the_null_device_silences_every_other_output_as_in_etcd(path: Path) -> None:
    logs.configure("info", "json", [str(path), "/dev/null"])
    log.info("x")
    assert not path.exists()


def test_an_output_that_cannot_be_opened_leaves_the_log_as_it_was(path: Path) -> None:
    logs.configure("info", "json", [str(path)])
    with pytest.raises(OSError):
        logs.configure("info", "json", [str(path.parent / "none" / "log")])
    log.info("still here")
    assert [line["msg"] for line in lines(path)] == ["still here"]


def test_a_full_disk_does_not_reach_the_caller() -> None:
    logs.configure("info", "json", ["/dev/full"])
    log.info("lost")
    logs.flush()


def test_a_message_that_does_not_fit_its_arguments_does_not_reach_the_caller(path: Path) -> None:
    logs.configure("info", "json", [str(path)])
    log.info("%d", "x")
    log.info("next")
    assert [line["msg"] for line in lines(path)] == ["next"]


def test_log_lines_caused_by_unknown_clients_are_bounded_and_counted(path: Path) -> None:
    logs.configure("info", "json", [str(path)])
    now = 0.0
    sparse = logs.LimitedLog(log, lambda: now)
    for _ in range(5000):
        sparse.warning("dropped", {"remote": "10.0.0.1"}, kind="no hello")
    sparse.warning("dropped", {"remote": "10.0.0.2"}, kind="no message")
    now = sparse.PERIOD
    sparse.warning("dropped", {"remote": "x" * 5000}, kind="no hello")
    found = lines(path)
    assert [line.get("left-out") for line in found] == [None] * 4 + [5000 - sparse.BURST]
    assert {str(line["caller"]).split(":")[0] for line in found} == {"base/test_logs.py"}
    assert path.stat().st_size < 2000


def test_kinds_without_end_share_one_count(path: Path) -> None:
    logs.configure("info", "json", [str(path)])
    sparse = logs.LimitedLog(log, lambda: 0.0)
    for number in range(5000):
        sparse.warning("dropped", {}, kind=f"kind {number}")
    assert len(lines(path)) == sparse.KINDS + sparse.BURST


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (1.5, "1.5s"), (0.02, "20ms"), (12e-6, "12µs"), (3e-9, "3ns"), (75, "75s")],
)
def test_durations_are_formatted_as_by_go(seconds: float, text: str) -> None:
    assert logs.go_duration(seconds) == text
