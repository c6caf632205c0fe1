"""URLs as etcd takes, writes and compares them."""

import asyncio
import itertools
import socket
import threading
from typing import Any

import pytest

from rusd.base import urls
from rusd.base.urls import Url, differing, differing_in_thread

#: What etcd 3.7.3 answers to `member add` with each: the URL it keeps, None if it refuses.
BESIDE_ETCD: list[tuple[str, str | None]] = [
    ("http://x:", "http://x:"),
    ("http://x:99999", "http://x:99999"),
    ("http://:80", "http://:80"),
    ("HTTP://X:80", "http://X:80"),
    (" http://y:81 ", "http://y:81"),
    ("http://y:82?q", "http://y:82?q"),
    ("http://y:83#f", "http://y:83#f"),
    ("http://u:p@y:84", "http://u:p@y:84"),
    ("http://y:85/", None),
    ("http://[::1]:86", "http://[::1]:86"),
    ("http://[::1%25eth0]:87", "http://[::1%25eth0]:87"),
    ("http://::1:88", None),
    ("http://a b:89", None),
    ("http:y:90", None),
    ("http:/y:91", None),
    ("unix:///tmp/x", "unix:///tmp/x"),
    ("unix://a/b", "unix://a/b"),
    ("unix:a", "unix:a"),
    ("unix://", "unix:"),
    ("unixs://h:1", "unixs://h:1"),
    ("ftp://x:1", None),
    ("http://y:9a", None),
    ("http://y", None),
    ("", None),
    ("://x:1", None),
    ("http://é:92", "http://%C3%A9:92"),
    ("http://%41:93", None),
    ("http://x%zz:94", None),
    ("http://y:95\x01", None),
    ("http://y_z:96", "http://y_z:96"),
    ("http://[1.2.3.4]:97", None),
    ("http://[zz]:98", None),
    ("http://a:b:99", None),
    ("1http://x:1", None),
    ("http://x:80\n", "http://x:80"),
    ("http://y:0", "http://y:0"),
    ("http://y:00080", "http://y:00080"),
    ("http://<y>:101", "http://<y>:101"),
    ("http://y:80,http://z:81", None),
    ('http://"y:102', 'http://"y:102'),
    ("http://y^:103", None),
    ("http://y|z:104", None),
    ("http://y!$&'()*+;=~:105", "http://y!$&'()*+;=~:105"),
    ("http:////:1", None),
    ("http://[::1]x:106", None),
    ("http://[::1]", None),
    ("http://[::1:107", None),
]


@pytest.mark.parametrize(("text", "kept"), BESIDE_ETCD)
def test_what_etcd_takes_for_a_url_is_one_and_is_written_as_etcd_writes_it(
    text: str, kept: str | None
) -> None:
    if kept is None:
        with pytest.raises(ValueError, match=r"URL|host"):
            Url(text)
    else:
        assert Url(text) == kept
        assert Url(Url(text)) == kept


@pytest.mark.parametrize(
    ("text", "parts", "secure"),
    [
        ("http://Name:80", ("http", "name", 80, ""), False),
        ("HTTPS://[2001:DB8::1]:5", ("https", "2001:db8::1", 5, ""), True),
        ("http://[fe80::1%25eth0]:5", ("http", "fe80::1%eth0", 5, ""), False),
        ("http://u:p@h:7?a#b", ("http", "h", 7, ""), False),
        ("http://h:", ("http", "h", 0, ""), False),
        ("unix:///a/b%20c", ("unix", "", 0, "/a/b c"), False),
        ("UNIXS://h:1", ("unixs", "", 0, "h:1"), True),
        ("unix://a/b", ("unix", "", 0, "a/b"), False),
    ],
)
def test_a_url_knows_its_parts(text: str, parts: tuple[Any, ...], secure: bool) -> None:
    url = Url(text)
    assert (url.scheme, url.host, url.port, url.path) == parts
    assert url.is_secure is secure
    assert url.is_unix is url.scheme.startswith("unix")


def test_http_and_https_have_one_address_and_a_socket_file_another() -> None:
    assert Url("http://[::1]:5").address == Url("https://[0:0::1]:5").address
    assert Url("unix:///a").address == Url("unixs:///a").address
    assert Url("http://a:5").address != Url("http://b:5").address
    assert Url("http://[::ffff:10.0.0.1]:5").address == Url("http://10.0.0.1:5").address


# -- comparing -----------------------------------------------------------------------------------


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The names that resolve, and to what; addresses resolve to themselves."""
    known: dict[str, list[str]] = {}

    def getaddrinfo(host: str, *_: object, **__: object) -> list[Any]:
        if host not in known and not host[:1].isdigit() and ":" not in host:
            raise socket.gaierror(-2, "Name or service not known")
        return [(0, 0, 0, "", (address, 0)) for address in known.get(host, [host])]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


def test_urls_of_one_address_are_the_same_in_any_order(names: dict[str, list[str]]) -> None:
    names |= {"a": ["10.0.0.1", "10.0.0.2"], "b": ["10.0.0.3"]}
    one = ["http://a:1", "http://b:1"]
    for other in itertools.permutations(["http://10.0.0.2:1", "HTTP://10.0.0.3:1"]):
        assert differing(one, other) is None
        assert differing(other, one) is None


@pytest.mark.parametrize(
    "other",
    ["https://10.0.0.1:1", "http://10.0.0.1:2", "http://10.0.0.2:1", "unix://10.0.0.1:1", "none"],
)
def test_another_scheme_port_or_address_is_another_url(
    names: dict[str, list[str]], other: str
) -> None:
    names["a"] = ["10.0.0.1"]
    assert differing(["http://a:1"], [other])


def test_as_in_etcd_localhost_is_only_itself(names: dict[str, list[str]]) -> None:
    names["localhost"] = ["127.0.0.1"]
    assert differing(["http://localhost:1"], ["http://127.0.0.1:1"])
    assert differing(["http://localhost:1"], ["HTTP://localhost:1"]) is None


def test_equal_texts_need_no_look_up_and_a_different_count_neither(
    names: dict[str, list[str]],
) -> None:
    assert differing(["http://gone:1"], ["Http://gone:1"], timeout=0.0) is None
    assert differing(["http://[::1]:1"], ["http://[0::1]:1"], timeout=0.0) is None
    assert differing(["http://gone:1"], [], timeout=0.0)


def test_a_name_that_is_not_known_is_asked_for_until_the_time_is_over(
    names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urls, "RESOLVE_INTERVAL", 0.01)
    assert "failed to resolve late" in (
        differing(["http://late:1"], ["http://10.0.0.1:1"], timeout=0.05) or ""
    )
    timer = threading.Timer(0.05, lambda: names.update(late=["10.0.0.1"]))
    timer.start()
    assert differing(["http://late:1"], ["http://10.0.0.1:1"], timeout=30.0) is None
    timer.join()


def test_the_event_loop_runs_on_while_names_are_looked_up(
    names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, known = threading.Event(), threading.Event()
    resolve = socket.getaddrinfo

    def slow(host: str, *rest: Any, **options: Any) -> Any:
        asked.set()
        assert known.wait(30)
        return resolve(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    names["a"] = ["10.0.0.1"]

    async def body() -> None:
        comparing = asyncio.ensure_future(
            differing_in_thread(["http://a:1"], ["http://10.0.0.1:1"])
        )
        while not asked.is_set():
            await asyncio.sleep(0)
        assert not comparing.done()
        known.set()
        assert await comparing is None

    asyncio.run(body())


def test_a_fault_while_names_are_compared_reaches_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fault(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(urls, "_resolve", fault)

    async def body() -> None:
        async with asyncio.timeout(5):
            with pytest.raises(ZeroDivisionError):
                await differing_in_thread(["http://a:1"], ["http://10.0.0.1:1"])

    asyncio.run(body())
