"""Helpers of several suites: clients independent of rusd, and servers to compare with."""
