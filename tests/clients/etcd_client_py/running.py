"""Gives the tests the member at ENDPOINT where they start a container."""

import os

from testcontainers.core.container import DockerContainer

DockerContainer.__init__ = lambda self, *arguments, **settings: None
DockerContainer.with_exposed_ports = lambda self, *ports: self
DockerContainer.waiting_for = lambda self, strategy: self
DockerContainer.start = lambda self: self
DockerContainer.stop = lambda self, **settings: None
DockerContainer.get_exposed_port = lambda self, port: int(os.environ["ENDPOINT"].rpartition(":")[2])
