"""Discovery of the initial cluster: by a registry in another etcd, and by SRV records."""

import asyncio

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from rusd.config import Config, ConfigError
from rusd.config.load import load, parse_arguments
from rusd.member.discovery import registry, srv
from rusd.member.discovery.registry import Registered, Registry

SIZE = "/_etcd/registry/t/_config/size"
MEMBERS = "/_etcd/registry/t/members"


class Etcd:
    """The other etcd: keys in memory, and calls that fail as often as the test wants."""

    def __init__(self) -> None:
        self.keys: dict[str, Registered] = {}
        self.failures = 0

    def write(self, key: str, value: str) -> None:
        old = self.keys.get(key)
        revision = old.create_revision if old else len(self.keys) + 2
        self.keys[key] = Registered(key, value, revision)

    async def get(self, prefix: str) -> list[Registered]:
        self._call()
        return [self.keys[key] for key in sorted(self.keys) if key.startswith(prefix)]

    async def put(self, key: str, value: str) -> None:
        self._call()
        self.write(key, value)

    def _call(self) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("unreachable")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "POLL", 0)
    monkeypatch.setattr(registry, "FIRST_PAUSE", 0)


@pytest.fixture
def etcd() -> Etcd:
    return Etcd()


def join(etcd: Etcd, *members: int) -> list[str | BaseException]:
    """Register all members at once; return the result or error of each."""

    async def together() -> list[str | BaseException]:
        calls = (Registry(etcd, "t").join(each, f"m{each}=http://h:{each}") for each in members)
        return await asyncio.gather(*calls, return_exceptions=True)

    return asyncio.run(together())


def test_all_members_get_the_same_cluster_in_the_order_of_their_registration(
    etcd: Etcd,
) -> None:
    etcd.write(SIZE, "3")
    cluster = "m11=http://h:11,m10=http://h:10,m9=http://h:9"
    assert join(etcd, 11, 10, 9) == [cluster] * 3


def test_a_key_is_the_member_id_in_hexadecimal(etcd: Etcd) -> None:
    etcd.write(SIZE, "1")
    join(etcd, 0xABC)
    assert etcd.keys[f"{MEMBERS}/abc"].value == "m2748=http://h:2748"


def test_a_member_that_registered_before_its_crash_joins_again(etcd: Etcd) -> None:
    etcd.write(SIZE, "1")
    assert join(etcd, 1) == join(etcd, 1) == ["m1=http://h:1"]


def test_a_member_beyond_the_size_is_refused_and_leaves_no_key(etcd: Etcd) -> None:
    etcd.write(SIZE, "1")
    join(etcd, 1)
    [refused] = join(etcd, 2)
    assert isinstance(refused, ConfigError)
    assert str(refused) == "discovery: cluster is full"
    assert f"{MEMBERS}/2" not in etcd.keys


@pytest.mark.parametrize("size", ["", "x", "0", "-1"])
def test_a_malformed_size_is_refused(etcd: Etcd, size: str) -> None:
    etcd.write(SIZE, size)
    [refused] = join(etcd, 1)
    assert str(refused) == "discovery: size key is bad"


def test_a_token_without_a_size_is_refused(etcd: Etcd) -> None:
    [refused] = join(etcd, 1)
    assert str(refused) == "discovery: size key not found"


def test_calls_that_fail_are_repeated(etcd: Etcd) -> None:
    etcd.write(SIZE, "1")
    etcd.failures = 7
    assert join(etcd, 1) == ["m1=http://h:1"]


def test_malformed_registrations_are_left_out(etcd: Etcd) -> None:
    etcd.write(SIZE, "1")
    etcd.write(f"{MEMBERS}/77", "no url")
    assert join(etcd, 1) == ["m1=http://h:1"]


# -- SRV records ---------------------------------------------------------------------------------


class Server(asyncio.DatagramProtocol):
    """A DNS server that knows the SRV records of its table."""

    def __init__(self, records: dict[str, list[str]]) -> None:
        self._records = records

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = dns.message.from_wire(data)
        name = question.question[0].name
        answer = dns.message.make_response(question)
        records = self._records.get(name.to_text(omit_final_dot=True))
        if records is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        else:
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "SRV", *records))
        self._transport.sendto(answer.to_wire(), addr)


def members(records: dict[str, list[str]], *flags: str) -> list[str]:
    return asyncio.run(_members(records, *flags))


async def _members(records: dict[str, list[str]], *flags: str) -> list[str]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: Server(records), local_addr=("127.0.0.1", 0)
    )
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = transport.get_extra_info("sockname")[1]
    try:
        return await srv.members(config(*flags), resolver)
    finally:
        transport.close()


def config(*flags: str) -> Config:
    own = (
        "--name=a",
        "--discovery-srv=example",
        "--initial-advertise-peer-urls=http://127.0.0.1:7",
    )
    return load(parse_arguments([*own, *flags]), {}).config


PLAIN = "_etcd-server._tcp.example"
SECURE = "_etcd-server-ssl._tcp.example"


def test_the_record_with_this_members_address_has_its_name_and_others_have_numbers() -> None:
    found = members({PLAIN: ["0 0 8 127.0.0.1.", "0 0 7 localhost."]})
    assert found == ["0=http://127.0.0.1:8", "a=http://localhost:7"]


def test_secure_members_stand_before_the_others() -> None:
    found = members({PLAIN: ["0 0 7 127.0.0.1."], SECURE: ["0 0 9 127.0.0.1."]})
    assert found == ["0=https://127.0.0.1:9", "a=http://127.0.0.1:7"]


def test_the_name_of_the_service_has_the_suffix_that_is_given() -> None:
    records = {"_etcd-server-one._tcp.example": ["0 0 7 127.0.0.1."]}
    assert members(records, "--discovery-srv-name=one") == ["a=http://127.0.0.1:7"]


def test_a_member_without_a_record_is_refused() -> None:
    with pytest.raises(ConfigError, match='cannot find local etcd member "a" in SRV records'):
        members({PLAIN: ["0 0 8 127.0.0.1."]})


def test_a_record_of_another_scheme_than_the_advertised_url_is_refused() -> None:
    with pytest.raises(ConfigError, match="scheme mismatch with expected peer http"):
        members({SECURE: ["0 0 7 127.0.0.1."]})


def test_a_domain_without_records_is_refused() -> None:
    with pytest.raises(ConfigError, match="error querying DNS SRV records for _etcd-server-ssl"):
        members({})
