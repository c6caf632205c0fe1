"""One rusd and one etcd for each module of differential tests."""

from collections.abc import Iterator

import pytest

from tests.support.pair import Pair


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    both = Pair()
    yield both
    both.stop()
