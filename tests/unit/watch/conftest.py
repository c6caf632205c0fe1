from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.watch.scene import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path / "db")
    yield scene
    scene.engine.close()
