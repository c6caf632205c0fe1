"""Benchmarks: rusd beside real etcd, on the same machine, in the same run.

`python -m tests.bench` (or `make bench`) starts one member and three members of both, drives each
with the same load from h2load (C, not the bottleneck), interleaved and repeated, and takes medians.
Shared machines are noisy: the ratio within one run says more than any number in it.
Nothing here is a test; nothing is asserted of time.
"""
