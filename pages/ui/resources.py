"""The core's parts, built once for the web process."""

from __future__ import annotations

import os
from functools import cache

from kb.answers import Answers
from kb.config import Settings, load_settings
from kb.local import LocalServices
from kb.models import User
from kb.services import Services, build_answers, build_services


@cache
def local_services() -> LocalServices:
    """The embedded services, started at first use. Errors: `SetupError`."""
    local = LocalServices(load_settings())
    local.start()
    return local


def settings() -> Settings:
    """The settings with the embedded services' addresses filled in."""
    return local_services().settings


@cache
def services() -> Services:
    """Errors: `SetupError`, `DatabaseUnavailable`."""
    return build_services(settings())


@cache
def answers() -> Answers:
    return build_answers(services())


def current_user() -> User:
    """Who acts. Without a login, the local user."""
    return services().users.local()


def start() -> None:
    """Start what is missing and connect, before the first page asks. Errors: `SetupError`, `DatabaseUnavailable`."""
    resolved = settings()
    # The broker is made from the environment, here as in a worker process that somebody starts by hand.
    os.environ.update({"REDIS_URL": resolved.redis_url, "MILVUS_URI": resolved.milvus_uri})
    services()
    answers()


def close() -> None:
    """End what was started, in reverse order."""
    if answers.cache_info().currsize:
        answers().close()
    if services.cache_info().currsize:
        services().close()
    if local_services.cache_info().currsize:
        local_services().stop()
    for part in (answers, services, local_services):
        part.cache_clear()
