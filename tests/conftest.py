"""Settings for every test: hypothesis profiles (HYPOTHESIS_PROFILE=deep looks ten times longer),
and what runs side by side.
"""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

_COMMON = {
    "deadline": None,
    "suppress_health_check": [
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
    ],
}
# In the differential suites a failing example costs new servers and waits: no shrinking there.
_LOOK = [Phase.explicit, Phase.reuse, Phase.generate]
settings.register_profile("quick", derandomize=True, max_examples=60, phases=_LOOK, **_COMMON)
settings.register_profile("deep", max_examples=2000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

#: Tests of these directories start members as processes.
_PROCESSES = ("member", "cluster", "plugin")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put all tests that start members into one group of pytest-xdist (`--dist loadgroup`): they
    run one after the other, beside the unit tests. Mark the differential suites.
    """
    for item in items:
        directory = item.path.relative_to(Path(__file__).parent).parts[0]
        if directory in _PROCESSES:
            item.add_marker(pytest.mark.xdist_group("processes"))
        if item.path.name.startswith("test_differential_"):
            item.add_marker(pytest.mark.differential)
