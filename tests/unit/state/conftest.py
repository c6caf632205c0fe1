from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.state.driver import Driver


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    driver = Driver(tmp_path / "state")
    yield driver
    driver.machine.close()
