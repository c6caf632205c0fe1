"""Protobuf messages written by hand where speed needs it."""
