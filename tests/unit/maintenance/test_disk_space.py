"""Free-space checks, and recognition of errors that mean a full disk."""

import errno
from pathlib import Path

import pytest

from rusd.maintenance.disk_space import RESERVE, RESTART_FREE, DiskSpace, free, full_disk
from rusd.rpc.errors import NO_SPACE, EtcdError
from rusd.rpc.guards.quota import Quota
from rusd.storage import StorageError


def test_space_is_scarce_when_any_disk_has_less_than_the_reserve() -> None:
    left = {Path("/a"): RESERVE, Path("/b"): RESERVE}
    space = DiskSpace(list(left), left.__getitem__)
    assert not space.scarce(0.0)
    left[Path("/b")] -= 1
    assert not space.scarce(0.1), "it has just looked"
    assert space.scarce(0.5)
    left[Path("/b")] += 1
    assert not space.scarce(1.0)


def test_less_is_enough_to_begin_anew() -> None:
    left = {Path("/a"): RESTART_FREE}
    assert DiskSpace(list(left), left.__getitem__).enough()
    left[Path("/a")] -= 1
    assert not DiskSpace(list(left), left.__getitem__).enough()


def test_the_space_of_a_directory_still_to_be_made_is_that_above_it(tmp_path: Path) -> None:
    assert abs(free(tmp_path / "not" / "yet") - free(tmp_path)) < 1 << 30


@pytest.mark.parametrize("limit", [0, -1])
def test_a_nearly_full_disk_refuses_growth_whatever_the_quota(limit: int) -> None:
    quota = Quota(limit, lambda: 1, None, lambda: 5.0, lambda now: True)  # type: ignore[arg-type]
    with pytest.raises(EtcdError) as refused:
        quota.refuse(1)
    assert refused.value == NO_SPACE()
    assert quota.refuse(0) is None, "what does not grow is let through"


def wrapped(cause: Exception) -> Exception:
    try:
        raise StorageError("cannot write") from cause
    except StorageError as error:
        return error


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "x"), True),
        (OSError(errno.EDQUOT, "x"), True),
        (OSError(errno.EIO, "x"), False),
        (wrapped(OSError(errno.ENOSPC, "x")), True),
        (StorageError("IO error: No space left on device: While appending to file"), True),
        (StorageError("Corruption: block checksum mismatch"), False),
    ],
)
def test_a_full_disk_is_known_by_its_error(error: Exception, full: bool) -> None:
    assert full_disk(error) is full
