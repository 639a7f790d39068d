"""Files in a conversation: attached with a question, waited for, searched, shown to models, and removed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from kb.access import Principal
from kb.attachments import Attachments
from kb.errors import DatabaseUnavailable, UnsupportedFormat
from kb.library import Arrivals
from kb.library.quotas import Quotas
from kb.messages import Message
from kb.models import NOWHERE, Document, MessageState, Mode, Role, VersionState
from pages.ui.saving import noted, under_way
from tests.fakes.model_server import EMBEDDINGS, ModelServer
from tests.messages import said
from tests.pages.conftest import Installation, Visit
from tests.pages.visitor import Visitor, address
from tests.real_services import Redis

APPLES = b"An apple grows on a tree in the garden behind the house."


def attach(visitor: Visitor, question: str, *files: tuple[str, bytes]) -> None:
    """Send a question with files, without waiting for its answer."""
    if not visitor.has("question"):
        visitor.run()
    field = visitor.app.chat_input(key="question")
    for name, content in files:
        field.upload(name, content)
    field.set_value(question)
    visitor.run()


def conversation_id(visitor: Visitor) -> UUID:
    return UUID(str(visitor.app.query_params["conversation"]))


def attached(visitor: Visitor, installation: Installation) -> list[Document]:
    return list(installation.services.attachments.list(installation.user, conversation_id(visitor)))


def messages(visitor: Visitor, installation: Installation, role: Role) -> list[Message]:
    found = installation.services.messages.shown(installation.user, conversation_id(visitor))
    return [message for message in found if message.role is role]


def work(visitor: Visitor, installation: Installation) -> list[VersionState | None]:
    return [installation.ingest(document) for document in attached(visitor, installation)]


def picture() -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(target, "PNG")
    return target.getvalue()


@pytest.fixture
def visitor(installation: Installation, visit: Visit) -> Visitor:
    visitor = visit()
    visitor.choose("mode", Mode.LLM)
    return visitor


def test_question_is_noted_while_its_files_are_saved(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, Sequence[str]]] = []
    add = Attachments.add

    def look(self: Attachments, principal: Principal, conversation_id: UUID, *file: Any) -> Document:
        seen.extend((each.question, each.names) for each in under_way(conversation_id))
        return add(self, principal, conversation_id, *file)

    monkeypatch.setattr(Attachments, "add", look)
    attach(visitor, "Where does an apple grow?", ("apples.md", APPLES))
    assert seen == [("Where does an apple grow?", ["apples.md"])]
    assert not under_way(conversation_id(visitor))


def test_first_file_asks_the_embedding_server_for_nothing(
    installation: Installation, visit: Visit, models: ModelServer
) -> None:
    """It may accept connections and never answer. A worker finds out, and the page shows why the file waits."""
    installation.set_up(EMBEDDING_MODEL="openai:fake-embedding", EMBEDDING_BASE_URL=models.base_url)
    visitor = visit()
    visitor.choose("mode", Mode.LLM)
    embedding: Any = installation.services.embeddings.default
    embedding._timeout_seconds = 0.2
    with models.held(EMBEDDINGS):
        attach(visitor, "Where does an apple grow?", ("apples.md", APPLES))
        assert not [request for request in models.requests if request.path == EMBEDDINGS]
        assert work(visitor, installation) == [VersionState.QUEUED]
    visitor.run()
    assert "did not answer within 0.2 s" in visitor.text()


def test_model_alone_answers_without_the_files(installation: Installation, visit: Visit, models: ModelServer) -> None:
    installation.filled()
    visitor = visit()
    attach(visitor, "Zeppelin?", ("apples.md", APPLES))
    assert work(visitor, installation) == [VersionState.READY]
    visitor.wait_for_answer()
    visitor.click("ask_without")
    visitor.wait_for_answer()
    assert "You asked: Zeppelin?" in visitor.text()
    assert "Answered by the language model alone" in visitor.text()
    answer = messages(visitor, installation, Role.ASSISTANT)[-1]
    assert (answer.scope, answer.sources) == (NOWHERE, None)


def test_answer_from_a_picture_is_no_failed_search(
    installation: Installation, visit: Visit, models: ModelServer
) -> None:
    installation.filled()
    installation.set_up(LLM_SEES_IMAGES="yes")
    visitor = visit()
    attach(visitor, "Zeppelin?", ("sign.png", picture()))
    work(visitor, installation)
    visitor.wait_for_answer()
    text = visitor.text()
    assert "You asked: Zeppelin?" in text
    assert "Nothing relevant" not in text
    assert "Search steps" in text
    assert not visitor.has("ask_without")


@pytest.fixture
def begun(installation: Installation) -> UUID:
    """A conversation that has no question yet."""
    return installation.services.conversations.create(installation.user, "Where?", Mode.LLM).id


def test_reloaded_page_shows_the_question_whose_files_are_being_saved(
    begun: UUID, installation: Installation, visit: Visit
) -> None:
    question = "Where does an apple grow?"
    with noted(begun, question, ["apples.md"]):
        reloaded = visit(new=str(begun), mode=Mode.LLM.value)  # the address before the question was sent
        shown = reloaded.text()
        assert shown.count(question) == 1
        assert "apples.md" in shown
        assert "Saving the files…" in shown
        assert "What would you like to know?" not in shown
        attach(reloaded, "And a pear?")
        assert "Asked next: And a pear?" in reloaded.text()
        installation.services.messages.ask(installation.user, begun, question)
        reloaded.run()
        assert reloaded.text().count(question) == 1
    installation.services.messages.finish(
        installation.user,
        messages(reloaded, installation, Role.ASSISTANT)[0].id,
        MessageState.DONE,
        said("On a tree."),
    )
    reloaded.wait_for_answer()
    assert "Saving the files…" not in reloaded.text()
    assert [each.content for each in messages(reloaded, installation, Role.USER)] == [question, "And a pear?"]


def test_reloaded_page_shows_why_a_question_that_was_being_saved_is_refused(begun: UUID, visit: Visit) -> None:
    with suppress(UnsupportedFormat), noted(begun, "What does it do?", ["program.exe"]):
        reloaded = visit(conversation=str(begun))
        raise UnsupportedFormat(name="program.exe")
    reloaded.run()
    assert reloaded.text().count("What does it do?") == 1
    assert "program.exe" in reloaded.errors


def test_question_waits_for_its_file_and_is_answered_from_it(visitor: Visitor, installation: Installation) -> None:
    attach(visitor, "Where does an apple grow?", ("apples.md", APPLES))
    visitor.wait_until(lambda: "Waiting for 1 file…" in visitor.text(), "the answer to wait")
    assert "waiting" in visitor.text("attached")
    assert work(visitor, installation) == [VersionState.READY]
    visitor.wait_for_answer()
    (question,), (answer,) = (messages(visitor, installation, role) for role in (Role.USER, Role.ASSISTANT))
    assert [each.name for each in question.attached] == ["apples.md"]
    assert answer.sources
    assert [each.document_name for each in answer.sources.passages] == ["apples.md"]
    assert "on a tree" in answer.content
    # A later question uses the file, too, until it is removed.
    visitor.ask("Where does an apple grow?")
    assert messages(visitor, installation, Role.ASSISTANT)[-1].sources
    (document,) = attached(visitor, installation)
    visitor.click(f"remove_attached-{document.id}")
    visitor.click("remove_attached")
    assert attached(visitor, installation) == []
    visitor.run()
    assert not visitor.has("attached")
    visitor.ask("Where does an apple grow?")
    assert messages(visitor, installation, Role.ASSISTANT)[-1].sources is None


def test_file_is_searched_beside_the_knowledge_base(installation: Installation, visit: Visit) -> None:
    base = installation.filled("Fruit", {"pears.md": "A pear grows on a tree."})
    visitor = visit(knowledge_base=str(base.id), mode=Mode.KNOWLEDGE.value)
    attach(visitor, "", ("apples.md", b"An apple grows on a tree."))
    assert work(visitor, installation) == [VersionState.READY]
    visitor.ask("Where do an apple and a pear grow?")
    (answer,) = messages(visitor, installation, Role.ASSISTANT)
    assert answer.sources
    assert {each.document_name for each in answer.sources.passages} == {"apples.md", "pears.md"}


def test_files_are_enough_without_a_knowledge_base(installation: Installation, visit: Visit) -> None:
    visitor = visit(mode=Mode.KNOWLEDGE.value)
    visitor.start_asking("Where does an apple grow?")
    assert "There is nothing to search yet" in visitor.errors
    assert visitor.app.chat_input(key="question").proto.value == "Where does an apple grow?"
    assert "conversation" not in visitor.app.query_params
    attach(visitor, "Where does an apple grow?", ("apples.md", APPLES))
    assert work(visitor, installation) == [VersionState.READY]
    visitor.wait_for_answer()
    (answer,) = messages(visitor, installation, Role.ASSISTANT)
    assert answer.sources
    assert [each.document_name for each in answer.sources.passages] == ["apples.md"]
    visitor.ask("xyzzy plugh")
    assert "Nothing relevant to this question was found in the files of this conversation." in visitor.text()


def test_file_without_text_is_no_lost_knowledge_base(installation: Installation, visit: Visit) -> None:
    visitor = visit(mode=Mode.KNOWLEDGE.value)
    attach(visitor, "Where does an apple grow?", ("empty.md", b"  "))
    assert work(visitor, installation) == [VersionState.FAILED]
    visitor.wait_for_answer()
    assert "No file of this conversation has text that can be searched." in visitor.text()
    assert not visitor.errors


def test_waiting_answer_can_be_stopped(visitor: Visitor, installation: Installation) -> None:
    attach(visitor, "Where does an apple grow?", ("apples.md", APPLES))
    visitor.click("stop")
    visitor.wait_for_answer()
    assert "You stopped this answer." in visitor.text()
    assert len(attached(visitor, installation)) == 1


def test_question_waits_for_its_file_while_redis_is_away(
    own_redis: Redis, installation: Installation, visit: Visit
) -> None:
    installation.set_up(REDIS_URL=own_redis.url)
    visitor = visit()
    visitor.choose("mode", Mode.LLM)
    attach(visitor, "Where does an apple grow?", ("apples.md", APPLES))
    visitor.wait_until(lambda: "Waiting for 1 file…" in visitor.text(), "the answer to wait")
    own_redis.kill()
    told = "attached files cannot be read. Your question is kept"
    visitor.wait_until(lambda: told in visitor.text(), "the reason")
    assert told in visit(**address(visitor)).text()  # after F5, too
    own_redis.start()
    assert work(visitor, installation) == [VersionState.READY]
    visitor.wait_for_answer()
    (answer,) = messages(visitor, installation, Role.ASSISTANT)
    assert "on a tree" in answer.content
    attach(visitor, "Where does a pear grow?", ("pears.md", b"A pear grows in the park."))
    own_redis.kill()
    visitor.click("stop")
    visitor.wait_for_answer()
    assert not visitor.errors
    assert messages(visitor, installation, Role.ASSISTANT)[-1].state is MessageState.STOPPED


def test_failed_file_is_told_and_can_be_left_out(visitor: Visitor, installation: Installation) -> None:
    attach(visitor, "Where does an apple grow?", ("empty.md", b"  "))
    assert work(visitor, installation) == [VersionState.FAILED]
    visitor.wait_for_answer()
    assert "You asked: Where does an apple grow?" in visitor.text()
    assert visitor.text().count("empty.md") >= 3  # at the question, in the answer, and above the field
    (answer,) = messages(visitor, installation, Role.ASSISTANT)
    assert [each.name for each in answer.left_out] == ["empty.md"]


def test_unsupported_file_is_refused_and_the_question_kept(visitor: Visitor, installation: Installation) -> None:
    attach(visitor, "Where does an apple grow?", ("apples.zip", b"PK\3\4"), ("apples.md", APPLES))
    assert "“apples.zip” is not supported" in visitor.errors
    assert "Where does an apple grow?" in visitor.text()
    visitor.click("ask_refused")
    assert not visitor.errors
    assert [document.name for document in attached(visitor, installation)] == ["apples.md"]
    work(visitor, installation)
    visitor.wait_for_answer()
    (question,) = messages(visitor, installation, Role.USER)
    assert [each.name for each in question.attached] == ["apples.md"]


def test_only_the_refused_one_of_two_files_of_a_name_is_left_out(visitor: Visitor, installation: Installation) -> None:
    installation.services.arrivals.quotas = Quotas(most_bytes=100)
    attach(visitor, "Where does an apple grow?", ("apples.md", APPLES * 2), ("apples.md", APPLES))
    visitor.click("ask_refused")
    assert not visitor.errors
    assert [document.latest.size_bytes for document in attached(visitor, installation)] == [len(APPLES)]
    work(visitor, installation)
    visitor.wait_for_answer()


def test_refused_file_is_left_out_however_its_name_is_spelt(visitor: Visitor, installation: Installation) -> None:
    attach(visitor, "Where does an apple grow?", ("re\u0301sume\u0301.zip", b"PK\3\4"), ("apples.md", APPLES))
    visitor.click("ask_refused")
    assert not visitor.errors
    work(visitor, installation)
    visitor.wait_for_answer()


def test_file_beyond_the_storage_is_refused_and_the_question_kept(visitor: Visitor, installation: Installation) -> None:
    installation.services.arrivals.quotas = Quotas(most_bytes=100)
    attach(visitor, "Where does an apple grow?", ("long.md", APPLES * 2), ("apples.md", APPLES))
    assert "“long.md” does not fit" in visitor.errors
    visitor.click("ask_refused")
    assert not visitor.errors
    assert [document.name for document in attached(visitor, installation)] == ["apples.md"]
    work(visitor, installation)
    visitor.wait_for_answer()


def test_file_that_cannot_be_saved_is_kept_with_the_question(
    visitor: Visitor, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_values: object) -> None:
        raise DatabaseUnavailable(detail="restarting")

    with monkeypatch.context() as patch:
        patch.setattr(Arrivals, "register", fail)
        attach(visitor, "Where does an apple grow?", ("apples.md", APPLES))
    assert "With apples.md" in visitor.text()
    visitor.click("ask_refused")
    assert [document.name for document in attached(visitor, installation)] == ["apples.md"]
    visitor.click("stop")
    visitor.wait_for_answer()


@pytest.mark.parametrize("model", ["fake", "fake-vl"])
def test_picture_goes_to_models_that_take_images(
    model: str, installation: Installation, visit: Visit, models: ModelServer
) -> None:
    installation.set_up(LLM_MODEL=model)
    visitor = visit()
    visitor.choose("mode", Mode.LLM)
    attach(visitor, "What is this?", ("red.png", picture()))
    work(visitor, installation)
    visitor.wait_for_answer()
    content: Any = models.chats[-1].body["messages"][-1]["content"]
    (answer,) = messages(visitor, installation, Role.ASSISTANT)
    if model == "fake":
        assert content == "What is this?"
        assert "fake cannot see images" in visitor.text()
        assert [each.code for each in answer.left_out] == ["image_not_seen"]
    else:
        assert content[0]["image_url"]["url"].startswith("data:image/jpeg;base64,")
        assert content[1] == {"type": "text", "text": "What is this?"}
        assert answer.left_out == ()


def test_deleting_the_conversation_deletes_its_files(
    visitor: Visitor, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach(visitor, "", ("apples.md", APPLES))
    (document,) = attached(visitor, installation)
    services = installation.services
    services.conversations.delete(installation.user, conversation_id(visitor))
    monkeypatch.setattr("kb.conversations.catalogue.UNDO_SECONDS", 0)
    services.conversations.purge()
    assert document.knowledge_base_id in installation.worker.cleanup.pending()[0]
