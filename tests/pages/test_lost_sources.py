"""Old conversations whose knowledge base or documents were deleted or replaced since."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from kb.database.tables import documents
from kb.models import KnowledgeBase
from tests.pages.conftest import Installation, Visit
from tests.pages.visitor import Visitor

QUESTION = "How long is black tea steeped in boiling water?"
ANSWER = "Green tea is steeped at eighty degrees for two minutes"
PASSAGE = "Black tea is steeped in boiling water"


@pytest.fixture
def kitchen(installation: Installation) -> KnowledgeBase:
    return installation.filled("Kitchen")


@pytest.fixture
def conversation(kitchen: KnowledgeBase, visit: Visit) -> str:
    """An answer from the kitchen."""
    visitor = visit(knowledge_base=str(kitchen.id))
    visitor.ask(QUESTION)
    return str(visitor.app.query_params["conversation"])


def open_passages(visitor: Visitor, installation: Installation) -> None:
    conversation = UUID(visitor.app.query_params["conversation"])
    answer = installation.services.messages.shown(installation.user, conversation)[-1]
    visitor.app.session_state[f"passages-of-{answer.id}"] = True
    visitor.run()


def test_answer_from_a_deleted_knowledge_base_keeps_its_passages(
    installation: Installation, kitchen: KnowledgeBase, conversation: str, visit: Visit
) -> None:
    installation.services.knowledge_bases.delete(installation.user, kitchen.id)
    visitor = visit(conversation=conversation)
    open_passages(visitor, installation)
    assert PASSAGE in visitor.text()
    visitor.open_citation(1)
    assert "The document has been deleted." in visitor.text()
    assert "Open the document" not in visitor.text()
    assert not visitor.errors


def test_conversation_of_a_deleted_knowledge_base_says_which_one_is_asked_next(
    installation: Installation, kitchen: KnowledgeBase, conversation: str, visit: Visit
) -> None:
    installation.filled("Garden", {"garden.md": "Roses are cut in March."})
    installation.services.knowledge_bases.delete(installation.user, kitchen.id)
    visitor = visit(conversation=conversation)
    assert "Now: Knowledge-base Q&A · Garden" in visitor.text()
    visitor.ask("When are roses cut?")
    assert "Roses are cut in March" in visitor.text()
    assert visitor.text().count("Now: Knowledge-base Q&A · Garden") == 1


def test_last_knowledge_base_was_deleted(
    installation: Installation, kitchen: KnowledgeBase, conversation: str, visit: Visit
) -> None:
    installation.services.knowledge_bases.delete(installation.user, kitchen.id)
    visitor = visit(conversation=conversation)
    assert ANSWER in visitor.text()
    assert visitor.app.chat_input(key="question").placeholder == "Attach files, then ask them"
    assert "There is no knowledge base yet." in visitor.text()


def test_answer_from_a_deleted_knowledge_base_cannot_be_given_again(
    installation: Installation, kitchen: KnowledgeBase, conversation: str, visit: Visit
) -> None:
    installation.services.knowledge_bases.delete(installation.user, kitchen.id)
    visitor = visit(conversation=conversation)
    visitor.act(1, action="regenerate")
    visitor.wait_for_answer()
    assert "This knowledge base no longer exists" in visitor.errors
    visitor.act(1, action="show", id=visitor.actions[1]["branch"]["before"])
    assert ANSWER in visitor.text()
    visitor.act(1, action="test")
    assert "This knowledge base no longer exists" in visitor.errors + visitor.text()


def test_replaced_document_is_told(
    installation: Installation, kitchen: KnowledgeBase, conversation: str, visit: Visit
) -> None:
    with installation.services.database.write() as connection:
        connection.execute(sa.update(documents).values(live_version_id=uuid4()))
    visitor = visit(conversation=conversation)
    visitor.open_citation(1)
    assert "The document has changed since." in visitor.text()
    assert PASSAGE in visitor.text()
