"""Settings for every test: hypothesis profiles (HYPOTHESIS_PROFILE=deep looks ten times longer)."""

import os

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
