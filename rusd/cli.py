"""Command line: being written by the packager helper."""
