"""Who gets in where."""

from __future__ import annotations

import pytest

from kb.config import load_settings
from pages.ui import resources
from tests.doors.people import People
from tests.doors.table import DOORS, Outcome, missing_doors
from tests.doors.trying import Trial
from tests.pages.conftest import Installation
from web.app import build_routes, build_web


def test_every_door_is_in_the_table() -> None:
    assert missing_doors(list(build_routes())) == set()


@pytest.fixture
def people(installation: Installation) -> People:
    installation.close()
    resources.provide(lambda: build_web(load_settings(), has_login=True))
    return People(installation.services, lambda _owner, document: installation.ingest(document))


def test_ticket_is_good_for_its_own_user_only(people: People) -> None:
    """Even if it was seen by somebody else who has signed in."""
    trial = Trial(people)
    doors = [door for door in DOORS if door.given(people.ready).ticket]
    assert len(doors) >= 5
    for door in doors:
        assert trial.replay_ticket(door) is Outcome.FORBIDDEN, door.name


def test_each_gets_in_where_they_may(people: People) -> None:
    wrong = Trial(people).run()
    assert wrong == [], "\n".join(map(str, wrong))
