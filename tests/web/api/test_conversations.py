"""Conversations, as a program reads and keeps them."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from kb.access import KeyScope, Principal
from kb.citations import without_dangling
from kb.errors import ModelTimeout
from kb.models import Chunk, MessageState, Mode, Passage, Retrieval
from tests.conftest import Core
from tests.messages import said
from tests.web.api.conftest import Program, code_of

FOUND = Retrieval(passages=(Passage(Chunk("1", uuid4(), uuid4(), text="Each spring."), "a.md", rank=1),))


def talk(core: Core, *questions: str, who: Principal | None = None) -> UUID:
    """A conversation in which these were answered."""
    acting = who or core.user
    conversation = core.services.conversations.create(acting, questions[0], Mode.LLM)
    for question in questions:
        answer = core.services.messages.ask(acting, conversation.id, question)
        parts = said("Each spring [1] [9].", "fake", retrieval=FOUND)
        core.services.messages.finish(acting, answer.id, MessageState.DONE, parts)
    return conversation.id


def test_list_is_gone_through_by_cursor(core: Core, program: Program) -> None:
    ids = [str(talk(core, name)) for name in ("one", "two", "three")]
    talk(core, "secret", who=core.stranger)
    client = program(KeyScope.ASK)
    first = client.get("/conversations", params={"limit": 2}).json()
    assert [(each["id"], each["title"]) for each in first["items"]] == [(ids[2], "three"), (ids[1], "two")]
    core.services.messages.ask(core.user, UUID(ids[0]), "It is the latest now")
    rest = client.get("/conversations", params={"limit": 2, "cursor": first["next"]}).json()
    assert ([each["id"] for each in rest["items"]], rest["next"]) == ([ids[0]], None)


def test_messages_are_those_of_the_page(core: Core, program: Program) -> None:
    """Of the branch that is shown, with what the page leaves out left out."""
    conversation_id = talk(core, "When?", "And then?")
    first = core.services.messages.shown(core.user, conversation_id)[0]
    other = core.services.messages.edit(core.user, first.id, "When exactly?")
    core.services.messages.finish(core.user, other.id, MessageState.FAILED, said(error=ModelTimeout(seconds=9)))
    core.services.messages.show(core.user, first.id)
    client, path = program(KeyScope.ASK), f"/conversations/{conversation_id}/messages"
    found = client.get(path).json()
    shown = core.services.messages.shown(core.user, conversation_id)
    assert [each["text"] for each in found["items"]] == [without_dangling(each.content, each.sources) for each in shown]
    assert [each["text"] for each in found["items"]] == ["When?", "Each spring [1].", "And then?", "Each spring [1]."]
    assert [each["siblings"] for each in found["items"]] == [[str(id_) for id_ in each.siblings] for each in shown]
    assert len(found["items"][0]["siblings"]) == 2
    assert [source["name"] for source in found["items"][1]["sources"]] == ["a.md"]
    assert found["before"] is None
    last = client.get(path, params={"limit": 3}).json()
    assert [each["ordinal"] for each in last["items"]] == [1, 2, 3]
    assert [each["id"] for each in client.get(path, params={"before": last["before"]}).json()["items"]] == [
        str(first.id)
    ]
    task = client.get(f"/tasks/{found['items'][1]['id']}").json()
    assert task["text"] == found["items"][1]["text"]
    core.services.messages.show(core.user, other.id)
    failed = client.get(path, headers={"Accept-Language": "zh-CN"}).json()["items"][-1]
    assert (failed["state"], failed["error"], failed["text"]) == ("failed", "model_timeout", "")
    assert "秒" in failed["reason"]


def test_conversation_goes_on_as_it_was(core: Core, program: Program) -> None:
    conversation_id = talk(core, "Hello")
    client = program(KeyScope.ASK)
    wanted = {"question": "Go on", "conversation_id": str(conversation_id), "model": "fake"}
    task = client.post("/generate", json=wanted)
    assert task.status_code == 202
    answer = core.services.messages.get(core.user, UUID(task.json()["id"]))
    assert (answer.conversation_id, answer.mode) == (conversation_id, Mode.LLM)


def test_conversation_is_renamed_and_deleted(core: Core, program: Program) -> None:
    conversation_id = talk(core, "Hello")
    path, client = f"/conversations/{conversation_id}", program(KeyScope.WRITE, KeyScope.ASK)
    assert client.patch(path, json={"title": " Valves "}).json()["title"] == "Valves"
    assert code_of(client.patch(path, json={"title": "\u200b"})) == (400, "invalid_name")
    assert client.get(path).json()["title"] == "Valves"
    assert client.delete(path).status_code == 204
    assert code_of(client.get(path)) == (404, "not_found")
    core.services.conversations.restore(core.user, conversation_id)
    assert client.get(path).status_code == 200


def test_limited_key_reaches_its_own_conversations_only(core: Core, program: Program) -> None:
    talk(core, "Not for it")
    base, keys = core.knowledge_base(), core.services.api_keys
    _key, secret = keys.create(core.user, "Limited", [KeyScope.ASK], [base.id])
    own = talk(core, "Its own", who=keys.authenticate(secret.get_secret_value()))
    found = program(key=secret.get_secret_value()).get("/conversations").json()
    assert [each["id"] for each in found["items"]] == [str(own)]


@pytest.mark.parametrize("wanted", [{"conversation_id": str(uuid4()), "mode": "knowledge"}, {"mode": "knowledge"}])
def test_question_without_documents_is_refused(program: Program, wanted: dict[str, str]) -> None:
    reply = program().post("/generate", json={"question": "When?"} | wanted)
    assert code_of(reply) == (422, "invalid_request")
