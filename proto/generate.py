"""Generate rusd/proto/*_pb2.py and their stubs from the .proto files beside this script.

    python proto/generate.py [destination]

The destination is the repository's root by default: the generated modules are checked in, and a
test compares them with what this script makes. Run it after any change to a .proto file.
"""

import sys
from importlib import resources
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]

SOURCES = Path(__file__).resolve().parent
ROOT = SOURCES.parent


def generate(destination: Path) -> None:
    """Write `destination`/rusd/proto/*_pb2.py and *.pyi; RuntimeError if protoc refuses."""
    # Mapped to rusd/proto/, so that descriptors do not collide with those of other etcd clients.
    names = [f"rusd/proto/{path.name}" for path in sorted(SOURCES.glob("*.proto"))]
    well_known = resources.files("grpc_tools") / "_proto"
    code = protoc.main(
        [
            "protoc",
            f"-Irusd/proto={SOURCES}",
            f"-I{well_known}",
            f"--python_out={destination}",
            f"--pyi_out={destination}",
            *names,
        ]
    )
    if code != 0:
        raise RuntimeError(f"protoc ended with {code}")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
