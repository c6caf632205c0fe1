"""The fixture that etcetra's tests ask for: a client, and no keys of theirs afterwards."""

import os

import pytest
from etcetra import EtcdClient, HostPortPair


@pytest.fixture
async def etcd():
    client = EtcdClient(HostPortPair.parse(os.environ["ENDPOINT"]))
    yield client
    async with client.connect() as communicator:
        await communicator.delete_prefix("/test")
