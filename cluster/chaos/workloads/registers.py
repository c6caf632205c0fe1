"""Registers, lists and groups of keys: the calls that must be linearizable."""

from __future__ import annotations

from ..client import Client
from .worker import Keys, Worker


class Registers(Worker):
    """Reads, writes, deletes and compare-and-swaps of single keys."""

    def __init__(self, client: Client, rate: float, keys: Keys) -> None:
        super().__init__(client, rate)
        self._keys = keys
        #: The last value that this client saw of a key.
        self._known: dict[str, str | None] = {}

    def step(self) -> None:
        client, chance = self.client, self.client.random.random()
        key = self._keys.use(client.random.randrange(len(self._keys)))
        if chance < 0.40:
            self._known = {key: client.read(key)}
        elif chance < 0.48:
            client.read(key, serializable=True)
        elif chance < 0.70:
            client.write(key)
        elif chance < 0.94:
            expected = self._known[key] if key in self._known else client.read(key)
            value = client.value()
            if client.swap(key, expected, value):
                self._known = {key: value}
        else:
            client.delete(key)


class Lists(Worker):
    """Appends to lists: a read, then a compare-and-swap to the list plus one element."""

    def __init__(self, client: Client, rate: float, keys: Keys) -> None:
        super().__init__(client, rate)
        self._keys = keys

    def step(self) -> None:
        client = self.client
        key = self._keys.use(client.random.randrange(len(self._keys)))
        known = client.read(key)
        client.swap(key, known, f"{known} {client.value()}" if known else client.value())


class Groups(Worker):
    """Txns over two or three keys, written and read as a whole."""

    def __init__(self, client: Client, rate: float, keys: Keys) -> None:
        super().__init__(client, rate)
        self._keys = keys

    def step(self) -> None:
        client = self.client
        numbers = client.random.sample(range(len(self._keys)), client.random.choice((2, 3)))
        keys = [self._keys.use(number) for number in numbers]
        if client.random.random() < 0.5:
            client.write_all(keys)
        else:
            client.read_all(keys)
