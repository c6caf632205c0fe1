"""The HEALTHCHECK of the image: exit code 0 if the member in this container is alive.

It asks /livez: whether the process works, not whether it has a quorum. A health check that waits
for a quorum would keep the first member of a new cluster "starting" until the others are there.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

#: Where the image's and the compose file's members listen for metrics and health.
DEFAULT_URL = "http://127.0.0.1:2381/livez"


def alive(url: str, timeout: float = 3.0) -> bool:
    """Whether `url` answers with status 200."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(0 if alive(sys.argv[1] if len(sys.argv) > 1 else DEFAULT_URL) else 1)
