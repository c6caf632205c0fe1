"""What the C library does with freed memory, in a process of its own."""

import platform
import subprocess
import sys

import pytest

#: Two rounds of 50 messages of 300 kB, all alive at once: the page faults of the second.
PROGRAM = """
import resource, sys
from rusd.base.allocator import keep_freed
if sys.argv[1] == "kept":
    keep_freed()
row = bytes(300)
def answers():
    made = [b"".join([row] * 1000) for _ in range(50)]
answers()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
answers()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_of_large_answers_is_used_again_without_page_faults() -> None:
    assert faults("kept") < 500 < faults("returned")
