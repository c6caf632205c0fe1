"""The objects that the tests create."""

from __future__ import annotations

from .node import WORKLOAD

#: Port of the workload.
PORT = 8080


def container(version: str, *arguments: str) -> dict[str, object]:
    return {
        "name": "workload",
        "image": WORKLOAD.format(version),
        "imagePullPolicy": "Never",
        "args": list(arguments),
        "env": [{"name": "GREETING", "value": "from the pod's description"}],
    }


def deployment(version: str, replicas: int) -> dict[str, object]:
    """The deployment `web`: it answers on `PORT` with its version."""
    labels = {"app": "web"}
    serving = container(version, "serve") | {"ports": [{"containerPort": PORT}]}
    serving["readinessProbe"] = {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1}
    spec = {"terminationGracePeriodSeconds": 5, "containers": [serving]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def service() -> dict[str, object]:
    """The service `web` in front of the deployment, on port 80."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": PORT}]},
    }


def job(words: str) -> dict[str, object]:
    """The job `once`: it prints words and ends."""
    spec = {"restartPolicy": "Never", "containers": [container("1", "say", words)]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once"},
        "spec": {"template": {"spec": spec}},
    }
