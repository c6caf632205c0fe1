"""Small files that are on the disk as a whole or not at all."""

import os
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Replace the file at `path`; durable when this returns. OSError."""
    draft = path.with_suffix(".new")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
