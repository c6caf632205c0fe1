"""The alerts of docker-compose.yml ask for metrics that members serve, and are those documented."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "cluster" / "monitoring"


def expressions() -> list[str]:
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def test_every_metric_of_the_alerts_is_documented_as_served() -> None:
    served, _, _ = (ROOT / "docs" / "metrics.md").read_text().partition("## Absent")
    asked = {name for each in expressions() for name in re.findall(r"etcd_\w+", each)}
    assert asked
    for name in asked:
        assert f"`{name.removesuffix('_bucket')}`" in served


def test_every_alert_of_the_documents_is_a_rule() -> None:
    _, _, section = (ROOT / "docs" / "kubernetes.md").read_text().partition("## What to watch\n")
    documented = re.findall(r"^\| `(.+?)` \|", section.partition("\n## ")[0], re.MULTILINE)
    assert len(documented) > 5 and set(documented) <= {*expressions()}


def test_prometheus_finds_the_rules_where_the_compose_file_puts_them() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    named = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["rule_files"]
    mounted = {volume.split(":")[1] for volume in services["prometheus"]["volumes"]}
    assert {f"/etc/prometheus/{name}" for name in named} <= mounted
