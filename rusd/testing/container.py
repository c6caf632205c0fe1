"""A member in a container, by the name of an image. Needs `rusd[testing]` and docker."""

from rusd.cluster.testing.container import Container

__all__ = ["Container"]
