"""Resolves the discovery flags to an initial cluster."""

from dataclasses import replace

from rusd.base.logs import get_logger
from rusd.config import Config, check_bootstrap
from rusd.state.identity import member_id

log = get_logger(__name__)


async def discovered(config: Config) -> Config:
    """Return the configuration with the initial cluster that discovery finds.

    Waits until all members have registered. Without discovery flags, and at every later start, the
    configuration is returned unchanged. Raises ConfigError if the cluster is full, has no size, or
    does not contain this member.
    """
    if not config.uses_discovery:
        return config
    if config.identity_path.exists():
        log.warning("discovery flags are ignored since cluster already initialized")
        return config
    if config.discovery_endpoints:
        # Here and below, so that other members need not wait for these clients to load.
        from rusd.member.discovery.registry import Registry
        from rusd.member.discovery.registry_client import RegistryClient

        log.info("Bootstrapping cluster using v3 discovery.")
        token = config.discovery_token
        own = member_id(config.initial_advertise_peer_urls, token)
        urls = ",".join(f"{config.name}={url}" for url in config.initial_advertise_peer_urls)
        async with RegistryClient(config) as client:
            cluster = await Registry(client, token).join(own, urls)
        found = replace(config, initial_cluster=cluster, initial_cluster_token=token)
    else:
        from rusd.member.discovery import srv

        found = replace(config, initial_cluster=",".join(await srv.members(config)))
    check_bootstrap(found)
    return found
