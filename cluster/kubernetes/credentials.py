"""Certificates, keys and kubeconfig files of a control plane.

The users and groups are those that Kubernetes' own roles are bound to (system:masters, …), as
kubeadm makes them.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..certificates import Authority, Identity

#: Names under which pods and programs find the API server; its address is the first of the range
#: of services.
SERVICE_RANGE = "10.96.0.0/16"
_SERVED = (
    "127.0.0.1",
    "localhost",
    "10.96.0.1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


class Credentials:
    """The files of one control plane, in its own directory."""

    def __init__(self, directory: Path, server: str) -> None:
        """`server`: URL of the API server."""
        self._directory = directory
        self._server = server
        self.authority = Authority(directory, "kubernetes")
        #: Signs for users that an aggregating API server passes on.
        self.front_proxy = Authority(directory, "front-proxy-authority")
        self.front_proxy_client = self.front_proxy.issue("front-proxy-client")
        self.apiserver = self.authority.issue("kube-apiserver", _SERVED)
        self.kubelet_client = self.authority.issue("kubelet-client", organization="system:masters")
        self.kubelet = self.authority.issue("kubelet", ["127.0.0.1", "localhost"])
        #: Its key signs the tokens of service accounts, the certificate holds the public key.
        self.service_accounts = self.authority.issue("service-accounts")

    def kubeconfig(self, user: str, group: str | None = None) -> Path:
        """Write a kubeconfig file for `user` of `group`; return its path."""
        name = user.removeprefix("system:")
        return self._write(name, self.authority.issue(user, organization=group, file=name))

    def administrator(self) -> tuple[Path, Identity]:
        """Return an administrator's kubeconfig file, and the certificate that it names."""
        identity = self.authority.issue("admin", organization="system:masters")
        return self._write("admin", identity), identity

    def _write(self, name: str, identity: Identity) -> Path:
        path = self._directory / f"{name}.kubeconfig"
        path.write_text(json.dumps(self._config(identity), indent=1))
        return path

    def _config(self, identity: Identity) -> dict[str, object]:
        name = "rusd"
        cluster = {"server": self._server, "certificate-authority": str(self.authority.cert)}
        user = {"client-certificate": str(identity.cert), "client-key": str(identity.key)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
