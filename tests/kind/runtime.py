#!/usr/bin/env python3
"""An OCI runtime for machines whose root lacks capabilities, such as CAP_SYS_RESOURCE.

`docker run --privileged`, which kind needs for its nodes, asks runc for every capability, and runc
fails with "unable to apply caps" where one is missing. This program does not ask for what this
machine cannot give, and calls runc.
"""

import json
import os
import sys
from pathlib import Path

# In the kernel's order (linux/capability.h).
_NAMES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
    NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
    SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
    SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
    WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""


def missing() -> set[str]:
    """Names of the capabilities that this process cannot have."""
    status = Path("/proc/self/status").read_text()
    bounding = int(status.partition("CapBnd:")[2].split()[0], 16)
    return {
        f"CAP_{name}" for number, name in enumerate(_NAMES.split()) if not bounding >> number & 1
    }


def restrict(file: Path, names: set[str]) -> None:
    """Remove capabilities from a description: of a container, or of a process to run in one."""
    content = json.loads(file.read_text())
    wanted = content.get("process", content).get("capabilities", {})
    for kind, listed in wanted.items():
        wanted[kind] = [name for name in listed if name not in names]
    file.write_text(json.dumps(content))


def value(arguments: list[str], option: str) -> str:
    """The value that follows an option."""
    return arguments[arguments.index(option) + 1]


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if "create" in arguments:
        restrict(Path(value(arguments, "--bundle"), "config.json"), missing())
    elif "exec" in arguments:
        restrict(Path(value(arguments, "--process")), missing())
    os.execvp("runc", ["runc", *arguments])
