"""Users and tokens through aetcd, which leaves the management of users to etcdctl."""

import asyncio
import contextlib
import os
import subprocess

import aetcd

HOST, _, PORT = os.environ["ENDPOINT"].partition(":")


def etcdctl(*arguments: str) -> None:
    command = [os.environ["ETCDCTL"], "--endpoints", os.environ["ENDPOINT"], *arguments]
    subprocess.run(command, check=True, capture_output=True)


def client(user=None, password=None):
    return aetcd.Client(host=HOST, port=int(PORT), username=user, password=password)


@contextlib.asynccontextmanager
async def check(text):
    try:
        yield
    except Exception as error:  # noqa: BLE001
        print(f"failed {text}: {error!r}")
    else:
        print(f"ok {text}")


async def refused(call, text):
    try:
        await call
    except Exception as error:  # noqa: BLE001
        seen = " ".join(repr(each) for each in (error, error.__cause__, error.__context__))
        if text not in seen:
            raise AssertionError(f"{text} expected, not {seen}") from None
    else:
        raise AssertionError(f"not refused with {text}")


async def connected(user, password):
    async with client(user, password) as other:
        await other.get(b"app/1")


async def checks():
    async with client("app", "a") as app, client() as nobody:
        async with check("a user writes and reads its range"):
            await app.put(b"app/1", b"v")
            assert (await app.get(b"app/1")).value == b"v"
            assert [each.key async for each in _all(app, b"app/")] == [b"app/1"]
        async with check("a user is kept from other keys"):
            await refused(app.put(b"other", b"v"), "permission denied")
            await refused(app.get(b"other"), "permission denied")
            await refused(app.get_range(b"app/", b"\0"), "permission denied")
            await refused(
                app.transaction([], [], [app.transactions.put(b"other", b"v")]), "permission denied"
            )
        async with check("a wrong password and an unknown user fail alike"):
            await refused(connected("app", "wrong"), "authentication failed")
            await refused(connected("no", "a"), "authentication failed")
        async with check("nobody is refused"):
            await refused(nobody.get(b"app/1"), "user name is empty")
        async with check("a user watches its range"):
            watched = await app.watch_prefix(b"app/")
            await app.put(b"app/2", b"seen")
            async for event in watched:
                assert event.kv.value == b"seen"
                break
            await watched.cancel()
        async with check("a lease of a user holds its keys"):
            lease = await app.lease(60)
            await app.put(b"app/leased", b"v", lease=lease)
            await lease.revoke()
            assert await app.get(b"app/leased") is None
        async with check("a permission taken away counts at once"):
            etcdctl("--user=root:r", "user", "revoke-role", "app", "writer")
            await refused(app.put(b"app/1", b"v"), "permission denied")


async def _all(app, prefix):
    for each in await app.get_prefix(prefix):
        yield each


for arguments in (
    ("role", "add", "writer"),
    ("role", "grant-permission", "writer", "--prefix=true", "readwrite", "app/"),
    ("user", "add", "root:r"),
    ("user", "grant-role", "root", "root"),
    ("user", "add", "app:a"),
    ("user", "grant-role", "app", "writer"),
    ("auth", "enable"),
):
    etcdctl(*arguments)
asyncio.run(checks())
etcdctl("--user=root:r", "del", "--prefix", "app/")
etcdctl("--user=root:r", "auth", "disable")
for arguments in (
    ("user", "delete", "app"),
    ("user", "delete", "root"),
    ("role", "delete", "writer"),
):
    etcdctl(*arguments)
