"""The root of a node without a published node image: Debian's packages, the files of kind's base
image out of kind's own module, the programs, and the images of the control plane.

It also has what builds rusd's image (python3 and venv), so that one debootstrap makes both bases.
What differs from kind's own image: Debian's containerd, runc and CNI plugins; the images are
imported when the node starts; pods get their addresses from a static file, which suits a cluster
of one node (`Cluster.connect_pods` sees to several); containers may not raise their OOM score
adjustment, for machines without CAP_SYS_RESOURCE.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import images

PACKAGES = (
    *("systemd", "systemd-sysv", "conntrack", "iptables", "nftables", "iproute2", "ethtool"),
    *("util-linux", "mount", "kmod", "e2fsprogs", "procps", "jq", "curl", "ca-certificates"),
    *("containerd", "runc", "containernetworking-plugins", "python3", "python3-venv"),
)

PROGRAMS = ("kubeadm", "kubelet", "kubectl")
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")

WORKLOAD = "workload:{}"
VERSIONS = ("1", "2")

#: kind's default pod network; the part of a cluster's only node.
_PODS = "10.244.0.0/24"

#: Where containerd finds the pod network.
POD_NETWORK = "etc/cni/net.d/10-pods.conflist"

_IMPORT = """\
[Unit]
Description=Import the images of the control plane
After=containerd.service
Requires=containerd.service
Before=kubelet.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/ctr --namespace=k8s.io images import /kind/images.tar

[Install]
WantedBy=multi-user.target
"""

_KUBELET = """\
[Unit]
After=import-images.service
Requires=import-images.service
"""


def make(directory: Path, version: str, kind: Path) -> None:
    """Write `node.tar` of the programs in `directory`; `kind`: the module of kind."""
    with tempfile.TemporaryDirectory(prefix="rusd-node-") as scratch:
        root = Path(scratch) / "root"
        root.mkdir(mode=0o755)
        if not (directory / "debian.tar").exists():
            _debian(directory / "debian.tar", Path(scratch) / "debian")
        _run("tar", "-C", str(root), "-x", "-f", str(directory / "debian.tar"))
        _kind_files(root, kind)
        _programs(root, directory, version)
        _pod_network(root)
        _images(root, directory, version, Path(scratch) / "layers")
        _services(root)
        _pack(root, directory / "node.tar")


def _debian(archive: Path, root: Path) -> None:
    _run(
        # What it mounts in the root goes with it, also when it fails.
        *("unshare", "--mount", "--propagation=private", "debootstrap"),
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        "bookworm",
        str(root),
        _mirror(),
    )
    for path in (*root.glob("var/cache/apt/archives/*.deb"), *root.glob("var/lib/apt/lists/*_*")):
        path.unlink()
    _pack(root, archive)


def _pack(root: Path, archive: Path) -> None:
    new = archive.with_suffix(".new")
    _run("tar", "-C", str(root), "-c", "-f", str(new), ".")
    new.rename(archive)


def _mirror() -> str:
    """The mirror that this machine's apt is configured with."""
    found = _run("apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages")
    sites = [line for line in found.split() if line.startswith("http")]
    if not sites:
        raise RuntimeError("apt is not configured with a mirror")
    return next((site for site in sites if "security" not in site), sites[0])


def _kind_files(root: Path, kind: Path) -> None:
    for source in sorted((kind / "images" / "base" / "files").rglob("*")):
        target = root / source.relative_to(kind / "images" / "base" / "files")
        if source.is_dir():
            target.mkdir(mode=0o755, parents=True, exist_ok=True)
        else:
            shutil.copyfile(source, target)
            target.chmod(0o755 if "bin" in target.parent.parts else 0o644)
    config = root / "etc/containerd/config.toml"
    text = config.read_text().replace("oom_score_adj = false", "oom_score_adj = true")
    config.write_text(text)
    local = root / "usr/local/bin"
    for program in ("containerd", "ctr", "containerd-shim-runc-v2"):
        (local / program).symlink_to(f"/usr/bin/{program}")
    specification = json.loads(_run("chroot", str(root), "ctr", "oci", "spec"))
    hook = {"path": "/kind/bin/mount-product-files.sh"}
    specification.setdefault("hooks", {})["createContainer"] = [hook]
    specification["process"].pop("rlimits", None)
    (root / "etc/containerd/cri-base.json").write_text(json.dumps(specification))


def _programs(root: Path, directory: Path, version: str) -> None:
    shutil.copy(directory / "kubernetes", root / "usr/bin/kubernetes")
    for name in PROGRAMS:
        (root / "usr/bin" / name).symlink_to("kubernetes")
    (root / "kind/version").write_text(version)
    (root / "etc/kubernetes/manifests").mkdir(parents=True)


def _pod_network(root: Path) -> None:
    (root / "opt/cni").mkdir(parents=True)
    (root / "opt/cni/bin").symlink_to("/usr/lib/cni")
    (root / POD_NETWORK).parent.mkdir(parents=True, exist_ok=True)
    (root / POD_NETWORK).write_text(pod_network(_PODS))


def pod_network(pods: str) -> str:
    """Return a network whose pods have addresses in `pods`."""
    ranges = [[{"subnet": pods}]]
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "isGateway": True,
        # Of another part that pods of this node had before.
        "forceAddress": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]},
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]})


def _images(root: Path, directory: Path, version: str, scratch: Path) -> None:
    for name in ("kubernetes", "coredns", "workload"):
        folder = scratch / name / "usr/local/bin"
        folder.mkdir(parents=True)
        shutil.copy(directory / name, folder / name)
    programs = scratch / "kubernetes"
    for name in CONTROL_PLANE:
        (programs / "usr/local/bin" / name).symlink_to("kubernetes")
    iptables = scratch / "iptables"
    _iptables(root, iptables)
    workload = [scratch / "workload"]
    made = [
        images.Image(f"registry.k8s.io/{name}:{version}", [iptables, programs])
        for name in CONTROL_PLANE
    ]
    made += [
        images.Image(_coredns(root, version), [scratch / "coredns"], ["/usr/local/bin/coredns"]),
        images.Image(_pause(root), workload, ["/usr/local/bin/workload", "pause"]),
    ]
    made += [
        images.Image(
            f"docker.io/library/{WORKLOAD.format(number)}",
            workload,
            ["/usr/local/bin/workload"],
            {"VERSION": number},
        )
        for number in VERSIONS
    ]
    images.write(root / "kind/images.tar", made)


def _coredns(root: Path, version: str) -> str:
    """The name that kubeadm gives to CoreDNS's image."""
    listed = _run(
        "chroot",
        str(root),
        "kubeadm",
        "config",
        "images",
        "list",
        f"--kubernetes-version={version}",
    )
    return next(line for line in listed.split() if "coredns" in line)


def _pause(root: Path) -> str:
    """The name that containerd's configuration gives to the image of a pod's first container."""
    found = re.search(r'sandbox_image = "(.*)"', (root / "etc/containerd/config.toml").read_text())
    assert found
    return found[1]


def _iptables(root: Path, layer: Path) -> None:
    """Copy iptables and the libraries that it needs, for kube-proxy."""
    binary = "/usr/sbin/xtables-nft-multi"
    modules = [f"/{path.relative_to(root)}" for path in root.glob("usr/lib/*/xtables/*.so")]
    loaded = _run("chroot", str(root), "ldd", binary, *modules)
    for file in {binary, *modules, *re.findall(r"(/\S+) \(0x", loaded)}:
        target = layer / file.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        # Links may be absolute: they are followed inside the root.
        real = _run("chroot", str(root), "realpath", file).strip()
        shutil.copy(root / real.lstrip("/"), target)
    for family in ("iptables", "ip6tables"):
        for suffix in ("", "-save", "-restore"):
            (layer / "usr/sbin" / (family + suffix)).symlink_to("xtables-nft-multi")


def _services(root: Path) -> None:
    units = root / "etc/systemd/system"
    (units / "import-images.service").write_text(_IMPORT)
    (units / "kubelet.service.d/20-images.conf").write_text(_KUBELET)
    with (root / "etc/systemd/journald.conf").open("a") as journal:
        journal.write("ReadKMsg=no\n")
    wanted = [
        *root.glob("lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service"),
        *root.glob("lib/systemd/system/multi-user.target.wants/*"),
        *root.glob("etc/systemd/system/*.wants/*"),
        *root.glob("lib/systemd/system/local-fs.target.wants/*"),
        *root.glob("lib/systemd/system/sockets.target.wants/*udev*"),
        *root.glob("lib/systemd/system/sockets.target.wants/*initctl*"),
        *root.glob("lib/systemd/system/basic.target.wants/*"),
    ]
    for link in wanted:
        link.unlink()
    enabled = ("kubelet", "containerd", "undo-mount-hacks", "import-images")
    _run("chroot", str(root), "systemctl", "enable", *enabled)
    # It registers things in the kernel, for the whole machine.
    _run("chroot", str(root), "systemctl", "mask", "systemd-binfmt.service")


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = (done.stdout + done.stderr)[-2000:]
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{tail}")
    return done.stdout
