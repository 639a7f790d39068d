"""The page of a knowledge base that somebody else has shared."""

from __future__ import annotations

import io

import pytest

from kb.access import GranteeKind, Permission
from kb.library.sharing import Grantee, Sharing
from tests.conftest import add_user
from tests.pages.conftest import Installation, Visit
from tests.pages.visitor import UPLOADER


@pytest.mark.parametrize("permission", [Permission.VIEW, Permission.EDIT])
def test_page_offers_what_one_may_do(installation: Installation, visit: Visit, permission: Permission) -> None:
    services = installation.services
    owner = add_user(services.database, "Owner")
    base = services.knowledge_bases.create(owner, "Harbour", "test", 32)
    document = services.documents.register(owner, base.id, "a.md", io.BytesIO(b"# A\n\nText."))
    assert installation.ingest(document) == "ready"
    grantee = Grantee(GranteeKind.USER, installation.user.user_id)
    Sharing(services.database).grant(owner, base.id, grantee, permission)
    visitor = visit()
    visitor.go_to("knowledge_bases")
    may_edit = permission is Permission.EDIT
    assert visitor.find("shown_knowledge_base").options == ["Harbour · 1 document · shared with you"]
    assert bool(visitor._components(UPLOADER)) is visitor.has("rename") is may_edit
    assert ("you can ask it, and read its documents" in visitor.text()) is not may_edit
    assert not visitor.has("delete_knowledge_base")
    assert visitor.has(f"download-{document.id}") is visitor.has(f"chunks-{document.id}") is True
    assert visitor.has(f"delete-{document.id}") is may_edit
