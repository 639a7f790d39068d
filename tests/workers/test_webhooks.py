"""Programs are told by workers, over a real Redis and Dramatiq's own worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kb.config import Settings
from tests.conftest import Core
from tests.fakes.receiver import Receiver
from tests.real_services import wait_until
from tests.workers.conftest import Workers


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def settings(settings: Settings, receiver: Receiver) -> Settings:
    return settings.model_copy(update={"allowed_fetch_hosts": receiver.authority})


def test_worker_tells_of_a_document(core: Core, workers: Workers, receiver: Receiver) -> None:
    webhook, _secret = core.services.webhooks.create(core.user, receiver.address)
    document = core.upload(core.knowledge_base(), "a.md", "# Part\n\nSome text.")
    workers.send(core, document)
    workers.start()
    wait_until(lambda: receiver.received)
    assert receiver.received[0].event["data"]["document_id"] == str(document.id)
    (kept,) = core.services.webhooks.deliveries(core.user, webhook.id, None, 10)
    assert kept.attempts == 1
