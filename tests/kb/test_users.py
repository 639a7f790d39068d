"""What is kept of a user."""

from __future__ import annotations

from uuid import uuid4

import pytest
import sqlalchemy as sa

from kb.access import Principal
from kb.database import Database
from kb.database.tables import users
from kb.errors import NotFound
from kb.models import Choices, Mode, Scope
from kb.users import Users


def test_last_choices_are_kept(database: Database) -> None:
    people = Users(database)
    user = people.local()
    assert user.last_choices == Choices()
    chosen = Choices(Mode.TEST, Scope((uuid4(), uuid4()), (uuid4(),)))
    people.remember_choices(user.principal, chosen)
    assert people.local().last_choices == chosen
    assert people.local_principal() == Users(database).local_principal() == user.principal


def test_unknown_user_has_no_choices_to_keep(database: Database) -> None:
    with pytest.raises(NotFound):
        Users(database).remember_choices(Principal(uuid4()), Choices())


@pytest.mark.parametrize(
    "stored",
    [{}, {"version": 9, "mode": "dance", "more": 1}, {"knowledge_base_id": 7}, {"mode": None}, [], "text"],
)
def test_unreadable_choices_have_defaults(database: Database, stored: object) -> None:
    user = Users(database).local()
    with database.write() as connection:
        connection.execute(sa.update(users).values(last_choices=stored))
    assert Users(database).local().last_choices == Choices()
    assert Users(database).local_principal() == user.principal
