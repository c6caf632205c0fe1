"""The requests that Apache APISIX makes of etcd, as its library lua-resty-etcd writes them.

The library runs in OpenResty alone and is in no registry used here; so this script sends what it
sends: /v3 with camelCase and snake_case mixed, numbers unquoted, every field of a range spelled
out, one kept-alive connection for requests, one more for each watch, which ends when the
connection is closed. A watch is read as there: chunks up to one that ends in a line feed, split
into lines.
"""

import base64
import contextlib
import json
import os
import subprocess

import urllib3

ENDPOINT = os.environ["ENDPOINT"]
USER_AGENT = "lua-resty-http/0.17.1 (Lua) ngx_lua/10023"
#: All fields of a range, whether set or not.
RANGE = {
    "limit": 0,
    "revision": 0,
    "sort_order": 0,
    "sort_target": 0,
    "serializable": False,
    "keys_only": False,
    "count_only": False,
    "min_mod_revision": 0,
    "max_mod_revision": 0,
    "min_create_revision": 0,
    "max_create_revision": 0,
}


def etcdctl(*arguments):
    command = [os.environ["ETCDCTL"], "--endpoints", ENDPOINT, *arguments]
    subprocess.run(command, check=True, capture_output=True)


@contextlib.contextmanager
def check(text):
    try:
        yield
    except Exception as error:  # noqa: BLE001
        print(f"failed {text}: {error!r}")
    else:
        print(f"ok {text}")


def b64(text):
    return base64.b64encode(text.encode()).decode()


def value(content):
    """As the library's JSON serializer writes it."""
    return b64(json.dumps(content, separators=(",", ":")).replace("/", "\\/"))


def unvalue(text):
    return json.loads(base64.b64decode(text))


def range_end(key):
    return key[:-1] + chr(ord(key[-1]) + 1)


class Etcd:
    """One worker of APISIX."""

    def __init__(self, user=None):
        self.user, self.token = user, None
        self.pool = urllib3.HTTPConnectionPool(*ENDPOINT.split(":"), maxsize=1, timeout=10)

    def headers(self):
        if self.user and self.token is None:
            # Over a connection of its own, which is not kept.
            with urllib3.HTTPConnectionPool(*ENDPOINT.split(":")) as once:
                body = {"name": self.user, "password": "secret"}
                sent = {"User-Agent": USER_AGENT}
                answer = once.urlopen("POST", "/v3/auth/authenticate", json.dumps(body), sent)
                self.token = json.loads(answer.data)["token"]
        return {"User-Agent": USER_AGENT} | ({"Authorization": self.token} if self.token else {})

    def ask(self, path, body=None, method="POST"):
        sent = None if body is None else json.dumps(body)
        answer = self.pool.urlopen(method, path, sent, self.headers(), retries=False)
        return answer.status, json.loads(answer.data)

    def get(self, key, **fields):
        return self.ask("/v3/kv/range", {"key": b64(key), **RANGE, **fields})

    def read_directory(self, key):
        return self.get(key, range_end=b64(range_end(key)))

    def set(self, key, content, **fields):
        return self.ask("/v3/kv/put", {"key": b64(key), "value": value(content), **fields})

    def delete(self, key, **fields):
        return self.ask("/v3/kv/deleterange", {"key": b64(key), **fields})

    def txn(self, compare, success=None, failure=None):
        body = {"compare": [compare], "success": success, "failure": failure}
        return self.ask("/v3/kv/txn", {name: each for name, each in body.items() if each})

    def watch(self, key, revision, **fields):
        return Watch({"key": b64(key), "range_end": b64(range_end(key)), **fields}, revision, self)


class Watch:
    def __init__(self, create, revision, etcd):
        self.pool = urllib3.HTTPConnectionPool(*ENDPOINT.split(":"), maxsize=1, timeout=10)
        body = json.dumps({"create_request": {**create, "start_revision": revision}})
        self.response = self.pool.urlopen(
            "POST", "/v3/watch", body, etcd.headers(), preload_content=False, retries=False
        )
        assert self.response.status == 200, self.response.status
        assert self.response.headers["Transfer-Encoding"] == "chunked"
        self.chunks = self.response.read_chunked()
        self.waiting = []

    def read(self):
        """The next message, of the lines that came with the last chunk or of the next ones."""
        if not self.waiting:
            text = b""
            while not text.endswith(b"\n"):
                text += next(self.chunks)
            self.waiting = text.splitlines()
        return json.loads(self.waiting.pop(0))

    def events(self, count):
        found = []
        while len(found) < count:
            found += self.read()["result"].get("events", [])
        return [
            (
                event.get("type", "PUT"),
                base64.b64decode(event["kv"]["key"]).decode(),
                unvalue(event["kv"]["value"]) if "value" in event["kv"] else None,
                unvalue(event["prev_kv"]["value"]) if "prev_kv" in event else None,
            )
            for event in found
        ]

    def cancel(self):
        self.response.close()
        self.pool.close()


def route(number, content):
    return f"/apisix/routes/{number}", {"uri": content}


def without_users():
    etcd = Etcd()
    with check("/version gives three numbers"):
        status, version = etcd.ask("/version", method="GET")
        assert status == 200 and set(version) == {"etcdserver", "etcdcluster", "storage"}
        assert all(part.isdigit() for each in version.values() for part in each.split("."))
    with check("the initial directory is not found"):
        status, answer = etcd.read_directory("/apisix/routes/")
        assert status == 200 and "kvs" not in answer and int(answer["header"]["revision"]) > 0
    with check("a first write has no previous value, a second one has"):
        assert "prev_kv" not in etcd.set(*route(1, "/a"), prev_kv=True)[1]
        assert (
            unvalue(etcd.set(*route(1, "/b"), prev_kv=True)[1]["prev_kv"]["value"])["uri"] == "/a"
        )
    with check("a directory is read"):
        etcd.set(*route(2, "/c"))
        kvs = etcd.read_directory("/apisix/routes/")[1]["kvs"]
        assert [unvalue(kv["value"])["uri"] for kv in kvs] == ["/b", "/c"]
        assert all(type(kv[name]) is str for kv in kvs for name in ("create_revision", "version"))
    with check("setnx writes once, setx a key that exists"):
        compare = {"target": "CREATE", "key": b64("/apisix/n"), "createRevision": 0}
        put = [{"requestPut": {"key": b64("/apisix/n"), "value": value(1)}}]
        assert etcd.txn(compare, put)[1]["succeeded"] is True
        assert "succeeded" not in etcd.txn(compare, put)[1]
        assert "succeeded" not in etcd.txn(compare, failure=put)[1]
        kv = etcd.get("/apisix/n")[1]["kvs"][0]
        assert kv["version"] == "2"
    with check("atomic_set writes at the revision that was read, and not at another"):
        for revision, expected in ((int(kv["mod_revision"]), True), (1, None)):
            compare = {
                "key": b64("/apisix/n"),
                "target": "MOD",
                "result": "EQUAL",
                "mod_revision": revision,
            }
            assert etcd.txn(compare, put)[1].get("succeeded") is expected
    with check("a leased key goes with its lease"):
        lease = etcd.ask("/v3/lease/grant", {"TTL": 30, "ID": 0})[1]
        assert lease["TTL"] == "30" and type(lease["ID"]) is str
        etcd.set("/apisix/l", 1, lease=lease["ID"], prev_kv=True)
        kept = etcd.ask("/v3/lease/keepalive", {"ID": lease["ID"]})[1]
        assert kept["result"]["TTL"] == "30"
        query = {"ID": lease["ID"], "keys": True}
        assert etcd.ask("/v3/kv/lease/timetolive", query)[1]["keys"] == [b64("/apisix/l")]
        assert {"ID": lease["ID"]} in etcd.ask("/v3/lease/leases")[1]["leases"]
        assert etcd.ask("/v3/kv/lease/revoke", {"ID": lease["ID"]})[0] == 200
        assert "kvs" not in etcd.get("/apisix/l")[1]
        assert "TTL" not in etcd.ask("/v3/lease/keepalive", {"ID": lease["ID"]})[1]["result"]
    with check("a watch follows the directory from a revision on, and ends with its connection"):
        revision = int(etcd.get("/apisix/")[1]["header"]["revision"])
        watch = etcd.watch("/apisix/", revision + 1)
        assert watch.read()["result"]["created"] is True
        for number in range(3):
            etcd.set(*route(number, "/w"))
        etcd.delete("/apisix/routes/2")
        written = [("PUT", f"/apisix/routes/{n}", {"uri": "/w"}, None) for n in range(3)]
        expected = [*written, ("DELETE", "/apisix/routes/2", None, None)]
        assert watch.events(4) == expected
        watch.cancel()
    with check("a later watch catches up, with previous values"):
        watch = etcd.watch("/apisix/", revision + 1, prev_kv=True)
        assert watch.read()["result"]["created"] is True
        events = watch.events(4)
        assert [event[:3] for event in events] == [event[:3] for event in expected]
        assert events[3][3] == {"uri": "/w"}
        watch.cancel()
    with check("a watch from a compacted revision names the revision to go on from"):
        etcd.ask("/v3/kv/compaction", {"revision": revision + 2})
        watch = etcd.watch("/apisix/", revision)
        messages = [watch.read()["result"]]
        if not messages[0].get("canceled"):
            messages.append(watch.read()["result"])
        assert messages[-1]["canceled"] and int(messages[-1]["compact_revision"]) == revision + 2
        watch.cancel()
    with check("a delete counts, and one of a key that is not there does not"):
        assert etcd.delete("/apisix/n", prev_kv=True)[1]["deleted"] == "1"
        assert "deleted" not in etcd.delete("/apisix/n")[1]
        assert int(etcd.delete("/apisix/", range_end=b64("/apisix0"))[1]["deleted"]) == 2
    with check("all requests went over one connection"):
        assert etcd.pool.num_connections == 1, etcd.pool.num_connections


def with_users():
    admin, data = Etcd("root"), Etcd("gateway")
    with check("a user reads and writes its prefix with a token"):
        assert data.set(*route(1, "/a"))[0] == 200
        assert data.get("/apisix/routes/1")[1]["kvs"]
    with check("nobody is refused"):
        status, answer = Etcd().get("/apisix/routes/1")
        assert (status, answer["message"]) == (400, "etcdserver: user name is empty")
    with check("other keys are refused"):
        status, answer = data.get("/other")
        assert (status, answer["message"]) == (403, "etcdserver: permission denied")
    with check("a watch of other keys is canceled"):
        watch = data.watch("/other", 1)
        message = watch.read()["result"]
        assert message["canceled"] and "permission denied" in message["cancel_reason"]
        watch.cancel()
    with check("a watch with a token follows"):
        revision = int(data.get("/apisix/")[1]["header"]["revision"])
        watch = data.watch("/apisix/", revision + 1)
        admin.set(*route(2, "/b"))
        assert watch.events(1) == [("PUT", "/apisix/routes/2", {"uri": "/b"}, None)]
        watch.cancel()
    admin.delete("/apisix/", range_end=b64("/apisix0"))


def main():
    without_users()
    etcdctl("user", "add", "root:secret")
    etcdctl("user", "grant-role", "root", "root")
    etcdctl("role", "add", "gateway")
    etcdctl("role", "grant-permission", "gateway", "--prefix=true", "readwrite", "/apisix/")
    etcdctl("user", "add", "gateway:secret")
    etcdctl("user", "grant-role", "gateway", "gateway")
    etcdctl("auth", "enable")
    try:
        with_users()
    finally:
        root = ("--user", "root:secret")
        etcdctl(*root, "auth", "disable")
        etcdctl("user", "delete", "gateway")
        etcdctl("user", "delete", "root")
        etcdctl("role", "delete", "gateway")
        with contextlib.suppress(subprocess.CalledProcessError):
            etcdctl("role", "delete", "root")


main()
