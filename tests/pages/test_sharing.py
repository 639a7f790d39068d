"""The dialog in which the owner of a knowledge base shares it."""

from __future__ import annotations

from uuid import uuid4

import pytest
import sqlalchemy as sa

from kb.access import GranteeKind, Permission, Principal
from kb.database.tables import groups, now
from kb.library.sharing import Grant, Grantee
from kb.models import KnowledgeBase
from tests.conftest import add_user
from tests.pages.conftest import Installation, Visit
from tests.pages.visitor import Visitor

EVERYBODY = Grantee(GranteeKind.EVERYBODY)


@pytest.fixture(autouse=True)
def has_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pages.ui.sharing.has_login", lambda: True)


@pytest.fixture
def base(installation: Installation) -> KnowledgeBase:
    return installation.knowledge_base("Harbour")


@pytest.fixture
def ann(installation: Installation) -> Grantee:
    return as_grantee(add_user(installation.services.database, "Ann"), "Ann")


def as_grantee(principal: Principal, name: str) -> Grantee:
    return Grantee(GranteeKind.USER, principal.user_id, name)


def opened(visit: Visit) -> Visitor:
    visitor = visit()
    visitor.go_to("knowledge_bases")
    visitor.click("share_knowledge_base")
    return visitor


def grants(installation: Installation, base: KnowledgeBase) -> list[Grant]:
    return list(installation.services.sharing.list(installation.user, base.id))


def test_who_is_alone_is_not_offered_to_share(base: KnowledgeBase, visit: Visit) -> None:
    visitor = visit()
    visitor.go_to("knowledge_bases")
    assert visitor.has("delete_knowledge_base")
    assert not visitor.has("share_knowledge_base")


@pytest.mark.usefixtures("base", "ann")
def test_without_a_login_nobody_is_offered_to_share(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pages.ui.sharing.has_login", lambda: False)
    visitor = visit()
    visitor.go_to("knowledge_bases")
    assert not visitor.has("share_knowledge_base")


def test_person_is_let_in(installation: Installation, base: KnowledgeBase, ann: Grantee, visit: Visit) -> None:
    add_user(installation.services.database, "Away", suspended_at=now())
    visitor = opened(visit)
    assert "Only you can see it." in visitor.text()
    assert visitor.find("share_who").options == ["Ann"]
    visitor.find("share_who").set_value(ann.id)
    visitor.find("share_permission").set_value(Permission.EDIT)
    visitor.click("share")
    assert not visitor.errors
    assert grants(installation, base) == [Grant(ann, Permission.EDIT)]
    assert "Ann" in visitor.text()  # the page says with whom it is shared


def test_click_without_a_name_shares_with_nobody(
    installation: Installation, base: KnowledgeBase, ann: Grantee, visit: Visit
) -> None:
    visitor = opened(visit)
    visitor.click("share")
    assert "Nobody is chosen." in visitor.errors
    assert grants(installation, base) == []


def test_group_is_let_in(installation: Installation, base: KnowledgeBase, visit: Visit) -> None:
    group = Grantee(GranteeKind.GROUP, uuid4(), "Developers")
    with installation.services.database.write() as connection:
        connection.execute(sa.insert(groups), {"id": group.id, "name": group.name})
    visitor = opened(visit)
    assert visitor.find("share_kind").options == ["A group", "Everybody"]
    visitor.find("share_who").set_value(group.id)
    visitor.click("share")
    assert grants(installation, base) == [Grant(group, Permission.VIEW)]


def test_everybody_is_let_in(installation: Installation, base: KnowledgeBase, ann: Grantee, visit: Visit) -> None:
    visitor = opened(visit)
    visitor.find("share_kind").set_value(GranteeKind.EVERYBODY)
    visitor.click("share")
    assert grants(installation, base) == [Grant(EVERYBODY, Permission.VIEW)]
    assert "Shared with: Everybody" in visitor.text()
    visitor.click("share_knowledge_base")
    assert visitor.find("share_kind").options == ["A person"]


def test_page_names_the_first_of_many(installation: Installation, base: KnowledgeBase, visit: Visit) -> None:
    for name in "GFEDCBA":
        grantee = as_grantee(add_user(installation.services.database, name), name)
        installation.services.sharing.grant(installation.user, base.id, grantee, Permission.VIEW)
    visitor = visit()
    visitor.go_to("knowledge_bases")
    assert "Shared with: A, B, C, D, E and 2 more" in visitor.text()


def test_what_one_may_do_is_changed(
    installation: Installation, base: KnowledgeBase, ann: Grantee, visit: Visit
) -> None:
    installation.services.sharing.grant(installation.user, base.id, ann, Permission.VIEW)
    visitor = opened(visit)
    assert "Ann" in visitor.text(f"grant-user-{ann.id}")
    visitor.choose(f"granted-user-{ann.id}", Permission.EDIT)
    assert grants(installation, base) == [Grant(ann, Permission.EDIT)]


def test_person_is_shut_out(installation: Installation, base: KnowledgeBase, ann: Grantee, visit: Visit) -> None:
    sharing = installation.services.sharing
    for grantee in (ann, EVERYBODY):
        sharing.grant(installation.user, base.id, grantee, Permission.VIEW)
    visitor = opened(visit)
    visitor.click(f"withdraw-user-{ann.id}")
    assert grants(installation, base) == [Grant(EVERYBODY, Permission.VIEW)]
    visitor.click("share_knowledge_base")
    assert "listed by name, will see it then" in visitor.text()  # asks before
    visitor.click("withdraw-everybody")
    assert grants(installation, base) == []
    assert "Shared with:" not in visitor.text()


def test_knowledge_base_that_was_deleted_meanwhile(
    installation: Installation, base: KnowledgeBase, ann: Grantee, visit: Visit
) -> None:
    visitor = opened(visit)
    visitor.find("share_who").set_value(ann.id)
    installation.services.knowledge_bases.delete(installation.user, base.id)
    visitor.click("share")
    assert "no longer exists" in visitor.errors


def test_only_the_owner_shares(installation: Installation, ann: Grantee, visit: Visit) -> None:
    owner = Principal(ann.id)
    base = installation.services.knowledge_bases.create(owner, "Theirs", "test", 32)
    me = as_grantee(installation.user, "")
    installation.services.sharing.grant(owner, base.id, me, Permission.EDIT)
    visitor = visit()
    visitor.go_to("knowledge_bases")
    assert visitor.has("rename")
    assert not visitor.has("share_knowledge_base")
