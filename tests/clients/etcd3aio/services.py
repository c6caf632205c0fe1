"""Every service of etcd3aio, whose package has no tests of its own: the calls of its documents."""

import asyncio
import contextlib
import os

from etcd3aio import Etcd3Client, EtcdError, EtcdPermissionDeniedError
from etcd3aio.auth import PermissionType
from etcd3aio.kv import KVService, SortOrder, SortTarget, prefix_range_end
from etcd3aio.watch import WatchFilter

ENDPOINTS = os.environ["ENDPOINTS"].split(",")


@contextlib.asynccontextmanager
async def check(text):
    try:
        async with asyncio.timeout(30):
            yield
    except Exception as error:  # noqa: BLE001
        print(f"failed {text}: {error!r}")
    else:
        print(f"ok {text}")


async def refused(call, kind=EtcdError):
    try:
        await call
    except kind:
        return
    raise AssertionError(f"not refused with {kind}")


async def keys(client):
    kv = client.kv
    async with check("a ping writes and reads"):
        await client.ping()
    async with check("a put is read by all members"):
        await kv.put("app/1", "one")
        for endpoint in ENDPOINTS:
            async with Etcd3Client([endpoint]) as one:
                assert (await one.kv.get("app/1")).kvs[0].value == b"one"
    async with check("ranges are sorted, limited and counted"):
        for number in (3, 1, 2):
            await kv.put(f"sorted/{number}", str(9 - number))
        everything = {"range_end": prefix_range_end("sorted/")}
        by_value = await kv.get(
            "sorted/", sort_order=SortOrder.ASCEND, sort_target=SortTarget.VALUE, **everything
        )
        assert [each.value for each in by_value.kvs] == [b"6", b"7", b"8"]
        limited = await kv.get("sorted/", limit=1, **everything)
        assert (limited.more, limited.count, len(limited.kvs)) == (True, 3, 1)
        assert (await kv.get("sorted/", count_only=True, **everything)).count == 3
        names = await kv.get("sorted/", keys_only=True, **everything)
        assert [each.value for each in names.kvs] == [b""] * 3
    async with check("an old revision is read until it is compacted"):
        old = (await kv.put("old", "1")).header.revision
        await kv.put("old", "2")
        assert (await kv.get("old", revision=old)).kvs[0].value == b"1"
        await kv.compact(old + 1, physical=True)
        await refused(kv.get("old", revision=old), Exception)
    async with check("deletions return what was there"):
        await kv.put("gone", "v")
        deleted = await kv.delete("gone", prev_kv=True)
        assert (deleted.deleted, deleted.prev_kvs[0].value) == (1, b"v")
        assert (await kv.delete("gone")).deleted == 0
    async with check("a txn takes the branch of its comparisons"):
        create = KVService.txn_compare_create_revision("cas", 0)
        put, get = KVService.txn_op_put("cas", "v"), KVService.txn_op_get("cas")
        first, second = [await kv.txn([create], [put], [get]) for _ in range(2)]
        assert (first.succeeded, second.succeeded) == (True, False)
        assert second.responses[0].response_range.kvs[0].value == b"v"
        same = KVService.txn_compare_value("cas", "v")
        once = KVService.txn_compare_version("cas", 1)
        assert (await kv.txn([same, once], [KVService.txn_op_delete("cas")])).succeeded


async def leases(client):
    async with check("a lease lives while it is renewed and takes its keys along"):
        lease = await client.lease.grant(ttl=2)
        await client.kv.put("leased", "v", lease=lease.ID)
        async with client.lease.keep_alive_context(lease.ID, ttl=2) as renewed:
            await asyncio.sleep(3)
            assert renewed.alive
        left = await client.lease.time_to_live(lease.ID, keys=True)
        assert (list(left.keys), left.grantedTTL) == ([b"leased"], 2)
        assert lease.ID in {each.ID for each in (await client.lease.leases()).leases}
        await client.lease.revoke(lease.ID)
        assert not (await client.kv.get("leased")).kvs
        assert (await client.lease.time_to_live(lease.ID)).TTL == -1
    async with check("an unknown lease is refused"):
        await refused(client.kv.put("k", "v", lease=12345), Exception)


async def watches(client):
    async with check("a watch delivers puts and deletions from a revision on"):
        start = (await client.kv.put("seen/1", "a")).header.revision
        await client.kv.put("seen/1", "b")
        await client.kv.delete("seen/1")
        events = []
        watch = client.watch.watch(
            "seen/", range_end=prefix_range_end("seen/"), start_revision=start, prev_kv=True
        )
        async for response in watch:
            events += [(each.type, each.kv.value, each.prev_kv.value) for each in response.events]
            if len(events) == 3:
                break
        assert events == [(0, b"a", b""), (0, b"b", b"a"), (1, b"", b"b")]
    async with check("a filter keeps puts away"):
        start = (await client.kv.put("seen/2", "a")).header.revision
        await client.kv.delete("seen/2")
        watch = client.watch.watch("seen/2", start_revision=start, filters=[WatchFilter.NOPUT])
        async for response in watch:
            if response.events:
                assert [each.type for each in response.events] == [1]
                break


async def concurrency(client):
    async with check("a lock is held by one at a time"):
        held, most = 0, 0

        async def hold():
            nonlocal held, most
            async with client.lock("locks/a", ttl=5):
                held += 1
                most = max(most, held)
                await asyncio.sleep(0.02)
                held -= 1

        await asyncio.gather(*(hold() for _ in range(5)))
        assert most == 1
    async with check("a leader is elected, proclaims and resigns"):
        async with client.election("vote", value=b"first", ttl=5) as elected:
            assert (await elected.leader()).kvs[0].value == b"first"
            await elected.proclaim(b"again")
            assert (await elected.leader()).kvs[0].value == b"again"
            waiting = client.election("vote", value=b"second", ttl=5)
            entering = asyncio.ensure_future(waiting.__aenter__())
            await asyncio.sleep(0.1)
            assert not entering.done()
        await entering
        assert (await waiting.leader()).kvs[0].value == b"second"
        await waiting.__aexit__(None, None, None)


async def added_learner(client):
    """Add a learner, once the members have been connected for a while (5 s on etcd)."""
    while True:
        try:
            return await client.cluster.member_add(["http://127.0.0.1:1"], is_learner=True)
        except Exception as error:
            if "unhealthy" not in f"{error} {error.__cause__}":
                raise
            await asyncio.sleep(0.2)


async def operations(client):
    async with check("members are listed, and a learner is added, changed and removed"):
        before = (await client.cluster.member_list()).members
        assert len(before) == len(ENDPOINTS)
        added = await added_learner(client)
        await client.cluster.member_update(added.member.ID, ["http://127.0.0.1:2"])
        seen = {each.ID: each for each in (await client.cluster.member_list()).members}
        assert list(seen[added.member.ID].peerURLs) == ["http://127.0.0.1:2"]
        await refused(client.cluster.member_promote(added.member.ID), Exception)
        await client.cluster.member_remove(added.member.ID)
        assert len((await client.cluster.member_list()).members) == len(before)
        assert (await client.cluster.member_list(linearizable=False)).members
    async with Etcd3Client([ENDPOINTS[0]]) as one:
        async with check("a member tells its state and hashes"):
            status = await one.maintenance.status()
            assert status.leader
            assert status.version
            assert (await one.maintenance.hash_kv()).hash
            assert (await one.maintenance.hash()).hash
            assert not (await one.maintenance.alarms()).alarms
            await one.maintenance.alarm_deactivate()
            await one.maintenance.defragment()
        async with check("a snapshot is streamed"):
            size = 0
            async for chunk in one.maintenance.snapshot():
                size += len(chunk)
            assert size > 20_000
    async with check("the leader hands its leadership on"):
        for endpoint in ENDPOINTS:
            async with Etcd3Client([endpoint]) as one:
                status = await one.maintenance.status()
                leader = status.leader
                if status.header.member_id == leader:
                    members = (await one.cluster.member_list()).members
                    other = next(iter({each.ID for each in members} - {leader}))
                    await one.maintenance.move_leader(other)
                    assert (await one.maintenance.status()).leader == other
                    return
        raise AssertionError("no leader")


async def users(client):
    auth = client.auth
    async with check("users and roles are managed and asked for"):
        await auth.role_add("writer")
        await auth.role_grant_permission(
            "writer", "app/", prefix_range_end("app/"), perm_type=PermissionType.READWRITE
        )
        for name, role in (("root", "root"), ("app", "writer")):
            await auth.user_add(name, name)
            await auth.user_grant_role(name, role)
        assert sorted((await auth.user_list()).users) == ["app", "root"]
        assert list((await auth.user_get("app")).roles) == ["writer"]
        assert "writer" in (await auth.role_list()).roles
        assert (await auth.role_get("writer")).perm[0].key == b"app/"
        assert not (await auth.auth_status()).enabled
    await auth.auth_enable()
    async with (
        check("a user is kept to its range"),
        Etcd3Client(ENDPOINTS[:1]) as app,
        app.token_refresher("app", "app"),
    ):
        await app.kv.put("app/2", "v")
        await refused(app.kv.put("other", "v"), EtcdPermissionDeniedError)
        await refused(app.auth.user_add("x", "x"), EtcdPermissionDeniedError)
    async with check("a call without a token and a wrong password are refused"):
        await refused(client.kv.get("app/2"), Exception)
        await refused(auth.authenticate("app", "wrong"), Exception)
    async with (
        client.token_refresher("root", "root"),
        check("a changed password and a revoked role count at once"),
    ):
        await auth.user_change_password("app", "new")
        token = (await auth.authenticate("app", "new")).token
        await auth.role_revoke_permission("writer", "app/", prefix_range_end("app/"))
        async with Etcd3Client(ENDPOINTS[:1], token=token) as app:
            await refused(app.kv.get("app/2"), EtcdPermissionDeniedError)
        await auth.user_revoke_role("app", "writer")
    async with client.token_refresher("root", "root"):
        await auth.auth_disable()
    async with check("users and roles are removed"):
        for name in ("app", "root"):
            await auth.user_delete(name)
        await auth.role_delete("writer")
        assert not (await auth.user_list()).users


async def main():
    async with Etcd3Client(ENDPOINTS) as client:
        for part in (keys, leases, watches, concurrency):
            await part(client)
    # (The client takes members in turn, and one may not have seen what another has just answered.)
    async with Etcd3Client(ENDPOINTS[:1]) as client:
        await operations(client)
        await users(client)


asyncio.run(main())
