"""Builds one member out of the other rooms; its first start, its life, its background loops."""
