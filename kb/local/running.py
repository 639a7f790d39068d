"""For command lines beside a running Zhiwen: where its services are."""

from __future__ import annotations

from kb.config import Settings
from kb.errors import N_, SetupError
from kb.local.plan import Folders
from kb.local.run_state import read_run_state


def running(settings: Settings) -> Settings:
    """The settings with the addresses of the embedded services that run on this home folder. Errors: `SetupError`."""
    if settings.needs_embedded_services and not read_run_state(Folders(settings.home).run_state).holder:
        raise SetupError(
            N_("Zhiwen is not running on the data folder {folder}, so its embedded services cannot be asked."),
            N_("Start it (zhiwen run, or make run), or set ZHIWEN_HOME to the folder that is in use."),
            folder=settings.home,
        )
    return with_addresses(settings)


def with_addresses(settings: Settings) -> Settings:
    """The settings with the addresses of the embedded services as they were last, whether or not they run."""
    state = read_run_state(Folders(settings.home).run_state)
    return settings.model_copy(
        update={
            "milvus_uri": settings.milvus_uri or state.milvus_uri,
            "redis_url": settings.redis_url or state.redis_url,
        }
    )
