"""A conversation that is shared by a link."""

from __future__ import annotations

from tests.pages.conftest import Installation, Visit
from tests.pages.visitor import Visitor


def test_link_is_made_read_and_withdrawn(installation: Installation, visit: Visit) -> None:
    installation.filled()
    visitor = visit()
    visitor.ask("How long is green tea steeped?")
    conversation = installation.services.conversations.search(installation.user)[0]
    visitor.on_talk("share", conversation.id, in_sidebar=True)
    assert "can open Zhiwen and has the link" in visitor.text()
    visitor.click("make_link")
    link = installation.services.conversation_links.find(installation.user, conversation.id)
    assert link
    visitor.on_talk("share", conversation.id, in_sidebar=True)
    assert f"/shared?link={link.token}" in visitor.text("conversation_link")
    reader = read(link.token)
    assert "How long is green tea steeped?" in reader.text()
    assert "It shows what was said until" in reader.text()
    assert "Shared by" not in reader.text()  # without a login, nobody has a name
    assert [actions["actions"] for actions in reader.actions] == [[]]
    assert list(reader.cited) == [1]
    reader.open_citation(1)
    assert "eighty degrees" in reader.text("drawer")
    visitor.click("withdraw_link")
    visitor.on_talk("share", conversation.id, in_sidebar=True)
    assert visitor.has("make_link")
    assert "It may have been withdrawn" in read(link.token).text()


def read(token: str) -> Visitor:
    reader = Visitor()
    reader.go_to("shared", link=token)
    return reader
