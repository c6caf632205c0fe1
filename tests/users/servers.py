"""Parameters of fixtures: a command that runs members."""

import pytest

from tests.support.pair import ORACLE, SUBJECT

SERVERS = [pytest.param(SUBJECT, id="rusd"), pytest.param(ORACLE, id="etcd")]
