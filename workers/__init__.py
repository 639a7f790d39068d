"""The worker process: `dramatiq workers`, or embedded as `python -m workers.embedded`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from kb.config import Settings, load_settings
from kb.errors import N_, KbError, SetupError
from workers.actors import declare_actors
from workers.broker import build_broker
from workers.recycling import ask_master_for_another
from workers.runtime import WorkerRuntime

__all__ = ["build_worker"]


def build_worker(settings: Settings, replace: Callable[[], None] = ask_master_for_another) -> RedisBroker:
    """The broker of a worker process, with its actors. Nothing is connected before the process boots.

    `replace` has this process ended and another one started: see `workers.recycling`. Errors: `SetupError`.
    """
    if settings.needs_embedded_services:
        raise SetupError(
            N_("A worker that you start yourself needs MILVUS_URI and REDIS_URL."),
            N_("Set both to the addresses that the web process uses, too."),
        )
    runtime = WorkerRuntime(settings, replace)
    broker = build_broker(settings, runtime.middleware)
    runtime.attach(broker)
    declare_actors(broker, runtime)
    return broker


class _BrokerOnDemand:
    """The broker that `dramatiq workers` asks for, built from the environment when it is first used.

    The command line wants a broker as soon as this package is imported, but an import must not read the environment.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(_broker_of_this_process(), name)


@cache
def _broker_of_this_process() -> RedisBroker:
    try:
        return build_worker(load_settings())
    except KbError as error:
        raise SystemExit(f"The worker cannot start: {error}") from error


dramatiq.set_broker(cast(dramatiq.Broker, _BrokerOnDemand()))
