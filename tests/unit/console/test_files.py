"""Files of the console: what is served below /console/, how, and what is not."""

from __future__ import annotations

import asyncio
import gzip
import os
from pathlib import Path

import pytest

from rusd.console.files import COMPRESSED_FROM, ROOT, ConsoleFiles
from rusd.door.http.body import Body, BodyMemory
from rusd.door.http.router import Router, page_request
from rusd.rpc.call import Caller
from rusd.rpc.pages import PageResponse

INDEX = b"<!doctype html>" + b"x" * COMPRESSED_FROM
SCRIPT = b"let x = 1"


class Site:
    """A folder of files, asked as a browser asks."""

    def __init__(self, folder: Path) -> None:
        (folder / "pages").mkdir(parents=True)
        (folder / "index.html").write_bytes(INDEX)
        (folder / "pages" / "a.js").write_bytes(SCRIPT)
        (folder / ".hidden").write_bytes(b"no")
        (folder.parent / "secret").write_bytes(b"no")
        os.symlink(folder.parent / "secret", folder / "link.txt")
        files = ConsoleFiles(folder)
        self._router = Router({ROOT: files.page, ROOT.rstrip("/"): files.redirect})

    def get(self, target: str, method: str = "GET", **headers: str) -> PageResponse:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        asked = page_request(method, target, fields, Body(None, BodyMemory()), Caller("test"))
        return asyncio.run(self._router.serve(asked))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def test_the_root_is_the_index_and_files_have_their_types(site: Site) -> None:
    index = site.get("/console/")
    assert (index.status, index.body) == (200, INDEX)
    assert dict(index.headers)["Content-Type"] == "text/html; charset=utf-8"
    assert site.get("/console/index.html").body == INDEX
    script = site.get("/console/pages/a.js?v=1")
    assert script.body == SCRIPT
    assert dict(script.headers)["Content-Type"] == "text/javascript; charset=utf-8"


def test_the_path_without_a_slash_leads_there_below_any_prefix(site: Site) -> None:
    """A relative address: a proxy may have taken the beginning of the path away."""
    answer = site.get("/console")
    assert (answer.status, dict(answer.headers)["Location"]) == (307, "console/")


@pytest.mark.parametrize(
    ("accepted", "small"),
    [
        ("gzip, deflate, br", True),
        ("br;q=1.0, gzip;q=0.8", True),
        ("*", True),
        ("", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("br, gzipped", False),
        ("identity", False),
    ],
)
def test_a_file_is_compressed_for_those_that_take_it(
    site: Site, accepted: str, small: bool
) -> None:
    answer = site.get("/console/", accept_encoding=accepted)
    assert isinstance(answer.body, bytes)
    assert ("Content-Encoding" in dict(answer.headers)) is small
    assert (gzip.decompress(answer.body) if small else answer.body) == INDEX
    assert dict(answer.headers)["Vary"] == "Accept-Encoding"
    short = site.get("/console/pages/a.js", accept_encoding=accepted)
    assert short.body == SCRIPT, "too short to be worth it"


def test_a_file_that_the_browser_holds_is_not_sent_again(site: Site) -> None:
    first = site.get("/console/", accept_encoding="gzip")
    tag = dict(first.headers)["ETag"]
    for sent in (tag, f'"other", {tag}'):
        again = site.get("/console/", accept_encoding="gzip", if_none_match=sent)
        assert (again.status, again.body) == (304, b"")
        assert dict(again.headers)["ETag"] == tag
    assert site.get("/console/", if_none_match='"other"').status == 200
    assert site.get("/console/pages/a.js", if_none_match=tag).status == 200


@pytest.mark.parametrize("path", ["/console", "/console/", "/console/pages/a.js"])
def test_every_answer_forbids_what_a_page_of_the_console_does_not_need(
    site: Site, path: str
) -> None:
    fields = dict(site.get(path).headers)
    policy = fields["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    for part in ("base-uri", "form-action", "frame-ancestors"):
        assert f"{part} 'none'" in policy
    assert fields["X-Content-Type-Options"] == "nosniff"
    assert fields["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/console", "/console/"])
def test_files_are_only_read(site: Site, method: str, path: str) -> None:
    answer = site.get(path, method)
    assert (answer.status, dict(answer.headers)["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "path",
    [
        "/console/nothing",
        "/console/pages",
        "/console/pages/",
        "/console/.hidden",
        "/console/link.txt",
        "/console/%2e%2e/secret",
        "/console/..%2fsecret",
        "/console/..%5csecret",
        "/console/%00",
        "/console/index.html%00.js",
        "/console/../secret",
        "/console/../../../etc/passwd",
        "/console//etc/passwd",
        "/console/index.html/",
    ],
)
def test_what_is_no_file_of_the_folder_is_not_found(site: Site, path: str) -> None:
    answer = site.get(path)
    assert answer.status in (404, 307)
    if answer.status == 307:  # (A path with dots or double slashes: to the clean one.)
        assert site.get(dict(answer.headers)["Location"]).status == 404


def test_a_folder_that_is_missing_has_no_files(tmp_path: Path) -> None:
    files = ConsoleFiles(tmp_path / "none")
    asked = page_request("GET", ROOT, {}, Body(None, BodyMemory()), Caller("test"))
    assert asyncio.run(files.page(asked)).status == 404
