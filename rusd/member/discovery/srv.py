"""Bootstrap by SRV records of a domain (`--discovery-srv`).

`_etcd-server-ssl._tcp.DOMAIN` names members that are reached by https, `_etcd-server._tcp.DOMAIN`
those reached by http; `--discovery-srv-name` is appended to both services. A record whose addresses
are those of this member's advertised peer URLs is this member; the others get numbers as names,
since only their URLs matter.
"""

import asyncio
import socket

import dns.asyncresolver
import dns.exception
from dns.rdtypes.IN.SRV import SRV

from rusd.base.logs import get_logger
from rusd.base.urls import Url
from rusd.config import Config, ConfigError

log = get_logger(__name__)

#: Scheme -> service.
_SERVICES = {"https": "etcd-server-ssl", "http": "etcd-server"}

Address = tuple[str, int]


async def members(config: Config, resolver: dns.asyncresolver.Resolver | None = None) -> list[str]:
    """Return NAME=PEER_URL of every member. Raises ConfigError if no record is found, or none names
    this member.
    """
    suffix = f"-{config.discovery_srv_name}" if config.discovery_srv_name else ""
    own: dict[Address, Url] = {}
    for url in config.initial_advertise_peer_urls:
        own |= dict.fromkeys(await _addresses(*url.address), url)
    found: list[str] = []
    failures: list[str] = []
    for scheme, service in _SERVICES.items():
        name = f"_{service}{suffix}._tcp.{config.discovery_srv}"
        try:
            records = await _records(name, resolver)
            found += await _named(records, scheme, config.name, own, len(found))
        except (dns.exception.DNSException, OSError, ConfigError) as error:
            failures.append(f"error querying DNS SRV records for {name}: {error}")
    for failure in failures:
        log.warning("failed to resolve during SRV discovery", extra={"fields": {"error": failure}})
    if not found:
        raise ConfigError("; ".join(failures) or f"no SRV records for {config.discovery_srv}")
    for node in found:
        log.info("got bootstrap from DNS for etcd-server", extra={"fields": {"node": node}})
    if not any(node.startswith(f"{config.name}=") for node in found):
        raise ConfigError(f'cannot find local etcd member "{config.name}" in SRV records')
    return found


async def _records(name: str, resolver: dns.asyncresolver.Resolver | None) -> list[tuple[str, int]]:
    """Return target and port of every record, in a fixed order."""
    asked = resolver or dns.asyncresolver.Resolver()
    answer = await asked.resolve(name, "SRV")
    records = [record for record in answer if isinstance(record, SRV)]
    return sorted((str(record.target).rstrip("."), record.port) for record in records)


async def _named(
    records: list[tuple[str, int]], scheme: str, name: str, own: dict[Address, Url], known: int
) -> list[str]:
    named: list[str] = []
    for target, port in records:
        match = {own[each] for each in await _addresses(target, port) if each in own}
        if match and all(url.scheme != scheme for url in match):
            raise ConfigError(
                f"bootstrap at {scheme}://{target}:{port} has scheme mismatch with expected peer "
                f"{min(match)}"
            )
        called = name if match else str(known + len(named))
        named.append(f"{called}={scheme}://{target}:{port}")
    return named


async def _addresses(host: str, port: int) -> list[Address]:
    """Return the addresses of a name; none if it is unknown."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [(str(each[0]), port) for _, _, _, _, each in found]
