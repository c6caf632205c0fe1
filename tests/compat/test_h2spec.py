"""h2spec (`make test-h2spec` builds it): a member's client port speaks HTTP/2 to the letter.

All of its sections: generic, http2 and hpack, strict ones included.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from xml.etree import ElementTree

from cluster.local import LocalCluster

H2SPEC = Path(__file__).parents[2] / "build" / "h2spec"
#: Fewer would mean that a section was left out.
CASES = 146


def test_every_case_of_h2spec_passes(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    # (With a limit, so that there is one to exceed.)
    with LocalCluster(1, flags=["--max-concurrent-streams=100"]) as cluster:
        port = cluster.endpoints[0].rpartition(":")[2]
        done = subprocess.run(
            [H2SPEC, "-S", "-h", "127.0.0.1", "-p", port, "-P", "/version", "-j", report],
            capture_output=True,
            text=True,
            timeout=150,
        )
    suites = ElementTree.parse(report).getroot()
    cases = list(suites.iter("testcase"))
    failed = [case.get("classname") for case in cases if len(case)]
    assert failed == [], done.stdout[-4000:]
    assert len(cases) >= CASES
