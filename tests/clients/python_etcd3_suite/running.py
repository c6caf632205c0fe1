"""Gives clients that name no address the member at ENDPOINT in place of port 2379."""

import os

import etcd3

etcd3.client.__defaults__ = (
    "127.0.0.1",
    int(os.environ["ENDPOINT"].rpartition(":")[2]),
    *etcd3.client.__defaults__[2:],
)
