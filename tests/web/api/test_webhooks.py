"""Webhooks, as a program makes them and sees what came of them."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from kb.access import KeyScope
from kb.config import Settings
from kb.services import WorkerParts
from tests.conftest import Core
from tests.fakes.receiver import Receiver
from tests.web.api.conftest import Program, code_of


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def settings(settings: Settings, receiver: Receiver) -> Settings:
    return settings.model_copy(update={"allowed_fetch_hosts": receiver.authority})


def test_program_is_told_and_sees_what_came_of_it(
    core: Core, program: Program, worker: WorkerParts, receiver: Receiver
) -> None:
    client = program(KeyScope.WRITE, KeyScope.READ)
    created = client.post("/webhooks", json={"address": receiver.address, "events": ["document.ready"]})
    assert created.status_code == 201
    assert created.json()["secret"].startswith("whsec_")
    path = f"/webhooks/{created.json()['id']}"
    shown = {name: each for name, each in created.json().items() if name != "secret"}
    assert client.get(path).json() == shown
    assert client.get("/webhooks").json() == [shown]
    document = core.upload(core.knowledge_base(), "a.md", "# Part\n\nSome text.")
    assert worker.ingestion.ingest(document.latest.id) == "ready"
    assert worker.deliveries.deliver_due() == 1
    assert receiver.received[0].event["data"]["document_id"] == str(document.id)
    receiver.statuses = [500]
    assert client.post(f"{path}/test").status_code == 202
    assert worker.deliveries.deliver_due() == 1
    listed = client.get(f"{path}/deliveries", params={"limit": 1}, headers={"Accept-Language": "zh-CN"}).json()
    (failed,) = listed["items"]
    assert (failed["event"], failed["status"], failed["error"]) == ("webhook.test", 500, "webhook_refused")
    assert "500" in failed["reason"]
    assert "HTTP" in failed["reason"]
    assert failed["due_at"]
    (delivered,) = client.get(f"{path}/deliveries", params={"cursor": listed["next"]}).json()["items"]
    assert (delivered["status"], delivered["due_at"]) == (204, None)
    assert UUID(delivered["id"]) == UUID(receiver.received[0].headers["webhook-id"])
    assert client.get(path).json()["failing_since"]
    assert client.post(f"{path}/enable").json()["failing_since"] is None
    base = str(document.knowledge_base_id)
    changed = client.put(path, json={"address": receiver.address, "knowledge_base_ids": [base]}).json()
    assert (changed["events"], changed["knowledge_base_ids"]) == ([], [base])
    assert client.post(f"{path}/disable").json()["disabled_at"]
    assert code_of(client.post(f"{path}/test")) == (400, "webhook_off")
    assert client.post(f"{path}/enable").json()["disabled_at"] is None
    assert client.delete(path).status_code == 204
    assert code_of(client.get(path)) == (404, "not_found")


@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("ftp://hooks.example/", 400, "address_invalid"),
        ("https://user:secret@hooks.example/", 400, "address_has_password"),
        ("http://169.254.169.254/latest", 400, "host_not_public"),
    ],
)
def test_bad_address_is_refused(program: Program, address: str, status: int, code: str) -> None:
    assert code_of(program().post("/webhooks", json={"address": address})) == (status, code)


def test_repeated_creation_shows_the_same_secret(program: Program) -> None:
    client, headers = program(), {"Idempotency-Key": "one"}
    wanted = {"address": "https://hooks.example/"}
    first = client.post("/webhooks", json=wanted, headers=headers)
    assert client.post("/webhooks", json=wanted, headers=headers).json() == first.json()
    assert len(client.get("/webhooks").json()) == 1
