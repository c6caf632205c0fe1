"""The HEALTHCHECK of the image: exit code 0 if the member in this container is alive.

Requests /livez, which tests the process and not the quorum. A health check that waits for a quorum
would keep the first member of a new cluster "starting" until the others are up.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

#: Metrics URL of members in the image and the compose file.
DEFAULT_URL = "http://127.0.0.1:2381/livez"


def alive(url: str, timeout: float = 3.0) -> bool:
    """Return whether `url` responds with status 200."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(0 if alive(sys.argv[1] if len(sys.argv) > 1 else DEFAULT_URL) else 1)
