"""A unary call and an apply that take longer than the flags allow are lines in the log."""

import json

from cluster.local import LocalCluster
from tests.cluster.test_membership import wait_until
from tests.support.client import Client

FLAGS = ["--warning-unary-request-duration=1us", "--warning-apply-duration=1ns"]


def test_a_slow_put_and_its_apply_are_logged_without_the_value() -> None:
    with LocalCluster(1, flags=FLAGS) as cluster:
        with Client(cluster.endpoints[0]) as client:
            client.put(b"slow", b"hidden")
        member = cluster.members[0]
        wait_until(lambda: "/etcdserverpb.KV/Put" in member.log_of_this_run())
        lines = map(json.loads, member.log_of_this_run().splitlines())
        [line] = [each for each in lines if each.get("response type") == "/etcdserverpb.KV/Put"]
        assert (line["level"], line["msg"]) == ("warn", "request stats")
        assert 'key: "slow"' in line["request content"]
        assert "hidden" not in member.log_of_this_run()
        assert '"msg":"apply request took too long"' in member.log_of_this_run()
