"""Runs of pytest with the installed plugin: options, logs, pytest-xdist, cost when unused."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.testing.servers import Server
from tests.plugin.calls import keys
from tests.support.pair import command

pytest_plugins = "pytester"

#: The plugin, and the packages it lies in.
PLUGIN = ["rusd", "rusd.cluster", "rusd.cluster.testing", "rusd.cluster.testing.plugin"]

ONE = """
import urllib.request

def test_it(etcd):
    urllib.request.urlopen(etcd.url + "/version").read()
"""


@pytest.fixture(autouse=True)
def outside(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is not a worker of the run around it."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_TESTRUNUID", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments, timeout=120)


def test_a_failing_test_shows_what_its_members_wrote_and_no_other_does(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        def test_passes(etcd):
            pass

        def test_fails(etcd):
            etcd.restart(0)
            etcd.wait_healthy()
            assert False

        def test_has_no_member():
            assert False
        """
    )
    shown = run(pytester).stdout.str()
    headings = re.findall(r"-+ log of (\S+) \(127\.0\.0\.1:\d+\) -+", shown)
    assert headings == ["rusd-1"]
    log = shown.partition("log of rusd-1")[2].partition("test_has_no_member")[0]
    assert '"msg"' in log or "level" in log
    assert "1 passed" in shown and "2 failed" in shown


def test_a_member_that_does_not_start_shows_why(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(ONE)
    result = run(pytester, "--etcd-binary=false")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*rusd-1 ended*"])


def test_the_same_tests_run_on_real_etcd(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import urllib.request

        def test_it(etcd):
            assert "3.5." in urllib.request.urlopen(etcd.url + "/version").read().decode()
        """
    )
    run(pytester, f"--etcd-binary={command('etcd')}").assert_outcomes(passed=1)


def test_kept_data_starts_again(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makepyfile(
        """
        import subprocess, os

        def test_it(etcd):
            etcdctl = os.environ["ETCDCTL"]
            subprocess.run([etcdctl, "put", "a", "b"], env={**os.environ, **etcd.env}, check=True)
        """
    )
    monkeypatch.setenv("ETCDCTL", command("etcdctl"))
    result = run(pytester, "--etcd-keep=kept")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["etcd: data kept in kept"])
    (kept,) = (pytester.path / "kept").iterdir()
    assert (kept / "rusd-1.log").stat().st_size
    with Server(directory=kept) as again:
        assert keys(again) == ["a"]


def test_a_cluster_that_a_test_left_running_ends_with_the_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_it(etcd_clusters):
            left = etcd_clusters(1)
            left.start()
            open("left", "w").write(f"{left.members[0].pid} {left.members[0].data_dir}")
        """
    )
    run(pytester).assert_outcomes(passed=1)
    pid, data = (pytester.path / "left").read_text().split()
    assert not Path(f"/proc/{pid}").exists()
    assert not Path(data).exists()


def test_workers_of_xdist_have_members_of_their_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import base64, json, os, time, urllib.request, pathlib, pytest

        def call(etcd, method, **fields):
            body = json.dumps(fields).encode()
            return json.load(urllib.request.urlopen(f"{etcd.url}/v3/kv/{method}", body))

        @pytest.mark.parametrize("number", range(2))
        def test_it(etcd, number):
            # Both workers are in this test at the same time.
            pathlib.Path(f"{number}.url").write_text(etcd.url)
            deadline = time.monotonic() + 60
            while not pathlib.Path(f"{1 - number}.url").exists():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            call(etcd, "put", key="YQ==", value="YQ==")
            found = call(etcd, "range", key="AA==", range_end="AA==")
            assert found["header"]["revision"] == "2"
        """
    )
    run(pytester, "-n", "2").assert_outcomes(passed=2)
    urls = {(pytester.path / f"{number}.url").read_text() for number in range(2)}
    assert len(urls) == 2


def test_the_cluster_lives_as_long_as_the_scope_that_is_chosen(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import json, urllib.request, pytest

        def call(cluster, method, **fields):
            body = json.dumps(fields).encode()
            return json.load(urllib.request.urlopen(f"{cluster.url}/v3/kv/{method}", body))

        @pytest.fixture(scope="module")
        def filled(etcd_cluster):
            call(etcd_cluster, "put", key="YQ==", value="YQ==")

        @pytest.mark.parametrize("turn", range(2))
        def test_it(filled, etcd_cluster, turn):
            assert call(etcd_cluster, "range", key="YQ==")["count"] == "1"
        """
    )
    run(pytester, "--etcd-cluster-scope=module").assert_outcomes(passed=2)


def test_a_wrong_scope_in_the_ini_file_is_named(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\netcd_cluster_scope = world")
    pytester.makepyfile("def test_it(etcd_cluster): pass")
    result = run(pytester)
    assert result.ret != 0
    assert "etcd_cluster_scope: 'world' is none of function" in (
        result.stdout.str() + result.stderr.str()
    )


def test_a_run_without_the_fixtures_imports_the_plugin_alone(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import sys

        def pytest_sessionfinish():
            found = [name for name in sys.modules if name.partition(".")[0] in ("rusd", "grpc")]
            open("imported", "w").write(" ".join(sorted(found)))
        """
    )
    pytester.makepyfile("def test_it(): pass")
    run(pytester).assert_outcomes(passed=1)
    assert (pytester.path / "imported").read_text().split() == PLUGIN


def test_the_plugin_imports_nothing_but_pytest_when_it_is_loaded() -> None:
    script = (
        "import sys, pytest\n"
        "before = set(sys.modules)\n"
        "import rusd.cluster.testing.plugin\n"
        "print(*sorted(set(sys.modules) - before))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert [name for name in done.stdout.split() if "__editable__" not in name] == PLUGIN
