"""How the jobs of the runners that are started here are kept apart from this machine, and how they get their commits.

What belongs here: passing on what was wished for, and seeing beforehand whether it can be had. What does not: sandboxes
and limits themselves (`surveil.execute.isolation.isolating`), and fetching (`surveil.mirror`).
"""

from __future__ import annotations

from pathlib import Path

from surveil.config import DispatcherConfig, UpConfig
from surveil.config.values import size_shown


def settings_of_runners(config: DispatcherConfig | UpConfig) -> dict[str, str]:
    """What runners take from their environment, so that their jobs are kept apart, and their commits fetched, as it was
    wished for all of them.
    """
    return {
        **settings_of_access(config),
        "SURVEIL_SANDBOX": config.sandbox,
        "SURVEIL_MEMORY": size_shown(config.memory_bytes),
        "SURVEIL_PROCESSES": str(config.processes),
        "SURVEIL_ENGINE": config.engine,
        "SURVEIL_EXPOSE": "\n".join(str(path) for path in config.expose),
    }


def settings_of_access(config: DispatcherConfig | UpConfig) -> dict[str, str]:
    """What whoever fetches takes from its environment to be let in by servers of git."""
    named = {"SURVEIL_SSH_CONFIG": config.ssh_config, "SURVEIL_CREDENTIALS": config.credentials}
    return {name: str(path) for name, path in named.items() if path is not None}


def complaint_of(config: DispatcherConfig | UpConfig, data: Path) -> str:
    """What people should know of how the runners' jobs will be kept apart, once; what runners say goes to a log.

    Raises:
        InfrastructureError: what is required cannot be.
    """
    from surveil.execute.isolation import isolating  # noqa: PLC0415  # a dispatcher without runners has no use for it

    found = isolating.choose(
        config.sandbox,
        memory_bytes=config.memory_bytes,
        processes=config.processes,
        data=data,
        expose=config.expose,
    )
    return found.complaint


def no_containers_of(config: DispatcherConfig | UpConfig) -> str:
    """Why the runners will offer no containers, as a clause; empty if they will. Blocks.

    Raises:
        InfrastructureError: there is no engine at the address that was given.
    """
    from surveil.execute.containers.container import chosen  # noqa: PLC0415  # for whoever has a job with an image

    found, why = chosen(config.engine)
    if found is not None:
        found.close()
    return why
