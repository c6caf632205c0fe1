"""Ids as a real etcd 3.5.1 printed them for the same flags."""

from rusd.state.identity import cluster_id, member_id


def test_member_and_cluster_id_are_those_of_etcd() -> None:
    member = member_id(["http://127.0.0.1:23800"], "tok")
    assert member == 2681083982177880140
    assert cluster_id([member]) == 4413477065597753003


def test_the_order_of_peer_urls_does_not_change_the_id() -> None:
    urls = ["http://b:2380", "http://a:2380"]
    assert member_id(urls, "t") == member_id(reversed(urls), "t")


def test_the_order_of_members_does_not_change_the_cluster_id() -> None:
    assert cluster_id([3, 1, 2]) == cluster_id([1, 2, 3])


def test_a_member_added_later_gets_another_id_from_the_same_urls() -> None:
    urls = ["http://a:2380"]
    assert len({member_id(urls, ""), member_id(urls, "", when=1), member_id(urls, "", when=2)}) == 3
