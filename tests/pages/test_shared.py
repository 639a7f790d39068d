"""The page of a knowledge base that somebody else has shared."""

from __future__ import annotations

import io

import pytest

from kb.access import GranteeKind, Permission, Principal
from kb.library.sharing import Grantee
from kb.models import KnowledgeBase, Mode
from tests.conftest import add_user
from tests.pages.conftest import Installation, Visit
from tests.pages.visitor import UPLOADER


def shared(
    installation: Installation, owner: Principal, name: str, permission: Permission = Permission.VIEW
) -> KnowledgeBase:
    """A knowledge base of `owner` that is shared with the user of the pages."""
    base = installation.services.knowledge_bases.create(owner, name, "test", 32)
    grantee = Grantee(GranteeKind.USER, installation.user.user_id)
    installation.services.sharing.grant(owner, base.id, grantee, permission)
    return base


@pytest.mark.parametrize("permission", [Permission.VIEW, Permission.EDIT])
def test_page_offers_what_one_may_do(installation: Installation, visit: Visit, permission: Permission) -> None:
    services = installation.services
    owner = add_user(services.database, "Ann_B")
    base = shared(installation, owner, "Harbour", permission)
    document = services.arrivals.register(owner, base.id, "a.md", io.BytesIO(b"# A\n\nText.")).document
    assert installation.ingest(document) == "ready"
    visitor = visit()
    visitor.go_to("knowledge_bases")
    may_edit = permission is Permission.EDIT
    assert visitor.find("shown_knowledge_base").options == ["Harbour · 1 document · shared by Ann_B"]
    assert bool(visitor._components(UPLOADER)) is visitor.has("rename") is may_edit
    allowed = "change its documents and its settings" if may_edit else "read its documents"
    assert f"**Ann_B** shares this knowledge base with you: you can ask it, and {allowed}." in visitor.text()
    assert not visitor.has("delete_knowledge_base")
    assert visitor.has(f"download-{document.id}") is visitor.has(f"chunks-{document.id}") is True
    assert visitor.has(f"delete-{document.id}") is visitor.has(f"replace-{document.id}") is may_edit


def test_who_may_only_read_is_not_asked_to_upload(installation: Installation, visit: Visit) -> None:
    shared(installation, add_user(installation.services.database, "Ann"), "Empty")
    visitor = visit()
    assert "has no document that is ready yet" in visitor.text()
    visitor.go_to("knowledge_bases")
    assert "No documents yet." in visitor.text()
    assert not any(word in visitor.text() for word in ("Drop files", "Upload files"))


def test_same_names_are_told_apart_by_their_owners(installation: Installation, visit: Visit) -> None:
    installation.knowledge_base("Handbook")
    ann, bo = (add_user(installation.services.database, name) for name in ("Ann", "Bo"))
    first, second = shared(installation, ann, "Handbook"), shared(installation, bo, "Handbook")
    shared(installation, bo, "Travel")
    visitor = visit(mode=Mode.KNOWLEDGE.value, knowledge_base=f"{first.id}.{second.id}")
    labels = {"Handbook", "Handbook · Ann", "Handbook · Bo", "Travel"}
    assert set(visitor.find("knowledge_base").options) == {"Handbook · Ann + 1", *labels}
    visitor.click("knowledge_base_more")
    assert set(visitor.find("scope_bases").options) >= labels
    installation.answered("Hello?")
    visitor.go_to("history")
    assert set(visitor.find("history_knowledge_base").options) >= labels
