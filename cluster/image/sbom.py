"""The software bill of materials of the image, as CycloneDX 1.5 in JSON.

Python packages are listed by their own metadata, with the hash of the wheel where the build had it;
Debian packages by the package manager's records. Equal inputs give equal documents: the time is
SOURCE_DATE_EPOCH, and there is no random serial number.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from datetime import UTC, datetime
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

from .origins import Package

WHEELS = Path("build/wheels")


def document(site: Path, packages: list[Package], time: int) -> str:
    """Return the document for the packages in `site` and the Debian packages."""
    found = {path.parent: path.read_text() for path in site.glob("*.dist-info/METADATA")}
    described = sorted(
        (Parser().parsestr(text) for text in found.values()), key=lambda each: _normal(each["Name"])
    )
    wheels = _wheels()
    own = next(each for each in described if each["Name"] == "rusd")
    python = [_python_component(each, wheels) for each in described if each is not own]
    runtime = {
        "type": "platform",
        "bom-ref": f"pkg:generic/python@{platform.python_version()}",
        "name": "python",
        "version": platform.python_version(),
        "purl": f"pkg:generic/python@{platform.python_version()}",
    }
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {**_python_component(own, wheels), "type": "application"},
        },
        "components": [runtime, *python, *map(_debian_component, packages)],
    }
    return json.dumps(bill, indent=1) + "\n"


def _python_component(metadata: Message, wheels: dict[tuple[str, str], str]) -> dict[str, Any]:
    name, version = _normal(metadata["Name"]), metadata["Version"]
    purl = f"pkg:pypi/{name}@{version}"
    component = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
    }
    if licence := metadata["License-Expression"]:
        component["licenses"] = [{"expression": licence}]
    elif (licence := metadata["License"]) and "\n" not in licence:
        component["licenses"] = [{"license": {"name": licence}}]
    if digest := wheels.get((name, version)):
        component["hashes"] = [{"alg": "SHA-256", "content": digest}]
    return component


def _debian_component(package: Package) -> dict[str, str]:
    purl = f"pkg:deb/debian/{package.name}@{package.version}?arch={package.architecture}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": package.name,
        "version": package.version,
        "purl": purl,
    }


def _wheels() -> dict[tuple[str, str], str]:
    """Hashes of the wheels that came from an index; rusd's own differs with each build of it."""
    return {
        (_normal(name), version): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in WHEELS.glob("*.whl")
        for name, version in [path.name.split("-")[:2]]
        if name != "rusd"
    }


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
