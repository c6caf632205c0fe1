"""The services together serve every method that states its requirements, and no other."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

from rusd.api.auth import AuthService
from rusd.api.cluster import ClusterService
from rusd.api.election import ElectionService
from rusd.api.health import HealthService
from rusd.api.kv import KVService, Limits
from rusd.api.lease import LeaseService
from rusd.api.lock import LockService
from rusd.api.maintenance import MaintenanceService
from rusd.api.watch import WatchService
from rusd.rpc.requirements import REQUIREMENTS


def test_every_method_with_requirements_is_served_once() -> None:
    part: Any = MagicMock()
    services = (
        KVService(part, part, part, part, part, Limits()),
        LeaseService(part, part, part, part, part, part, 1),
        WatchService(part, part, part),
        ClusterService(part, part, part, part),
        MaintenanceService(part, part, part, 1, part),
        AuthService(part, part, part, part, part, part),
        HealthService(),
        LockService(part),
        ElectionService(part),
    )
    paths = [path for service in services for path in service.methods()]
    assert sorted(paths) == sorted(REQUIREMENTS)
