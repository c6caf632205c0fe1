"""Users and tokens through python-etcd3, which leaves the management of users to etcdctl."""

import contextlib
import os
import subprocess

import etcd3

HOST, _, PORT = os.environ["ENDPOINT"].partition(":")


def etcdctl(*arguments: str) -> None:
    member = ["--endpoints", os.environ["ENDPOINT"], "--cacert", os.environ["CA"]]
    command = [os.environ["ETCDCTL"], *member, *arguments]
    subprocess.run(command, check=True, capture_output=True)


def client(user=None, password=None):
    place = {"host": HOST, "port": int(PORT), "ca_cert": os.environ["CA"], "timeout": 10}
    return etcd3.client(**place, user=user, password=password)


@contextlib.contextmanager
def check(text):
    try:
        yield
    except Exception as error:  # noqa: BLE001
        print(f"failed {text}: {error!r}")
    else:
        print(f"ok {text}")


def refused(call, text):
    try:
        call()
    except Exception as error:  # noqa: BLE001
        if text not in repr(error):
            raise AssertionError(f"{text} expected, not {error!r}") from None
    else:
        raise AssertionError(f"not refused with {text}")


def checks():
    app, nobody = client("app", "a"), client()
    with check("a user writes and reads its range"):
        app.put("app/1", "v")
        assert app.get("app/1")[0] == b"v"
        assert [meta.key for _, meta in app.get_prefix("app/")] == [b"app/1"]
    with check("a user is kept from other keys"):
        refused(lambda: app.put("other", "v"), "permission denied")
        refused(lambda: app.get("other"), "permission denied")
        refused(lambda: list(app.get_range("app/", "\0")), "permission denied")
        outside = app.transactions.put("other", "v")
        refused(lambda: app.transaction([], [], [outside]), "permission denied")
    with check("a wrong password and an unknown user fail alike"):
        refused(lambda: client("app", "wrong"), "authentication failed")
        refused(lambda: client("no", "a"), "authentication failed")
    with check("nobody is refused"):
        refused(lambda: nobody.get("app/1"), "user name is empty")
    with check("a user watches its range"):
        events, cancel = app.watch_prefix("app/")
        app.put("app/2", "seen")
        assert next(events).value == b"seen"
        cancel()
    with check("a lease of a user holds its keys"):
        lease = app.lease(60)
        app.put("app/leased", "v", lease=lease)
        lease.revoke()
        assert app.get("app/leased")[0] is None
    with check("a permission taken away counts at once"):
        etcdctl("--user=root:r", "user", "revoke-role", "app", "writer")
        refused(lambda: app.put("app/1", "v"), "permission denied")


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
checks()
etcdctl("--user=root:r", "del", "--prefix", "app/")
etcdctl("--user=root:r", "auth", "disable")
for arguments in (
    ("user", "delete", "app"),
    ("user", "delete", "root"),
    ("role", "delete", "writer"),
):
    etcdctl(*arguments)
