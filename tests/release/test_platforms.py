"""The lock of the image has a wheel of every package for every platform, with its hash."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name, parse_wheel_filename

from cluster.image.wheels import LOCK, MACHINES, packages, tags

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("platform", MACHINES)
def test_every_package_of_the_image_has_a_wheel(platform: str, tmp_path: Path) -> None:
    packages(tmp_path, platform)
    locked = re.findall(r"^([\w.-]+)==(\S+)", LOCK.read_text(), re.MULTILINE)
    assert len(locked) > 20
    wheels = [parse_wheel_filename(path.name) for path in tmp_path.iterdir()]
    found = {(name, str(version)) for name, version, _, _ in wheels}
    assert found == {(canonicalize_name(name), version) for name, version in locked}
    kinds = [{tag.platform for tag in each} for *_, each in wheels]
    assert all(each & {"any", *tags(platform)} for each in kinds)
    assert any(each & {*tags(platform)} for each in kinds), "none for this platform alone"


@pytest.mark.parametrize("platform", ["linux/s390x", "arm64", "windows/amd64"])
def test_another_platform_is_refused(platform: str) -> None:
    with pytest.raises(ValueError, match=re.escape(platform)):
        tags(platform)


def test_the_variant_of_a_platform_has_no_wheels_of_its_own() -> None:
    assert tags("linux/arm64/v8") == tags("linux/arm64")
