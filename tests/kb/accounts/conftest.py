"""The parts of `kb.accounts` over SQLite and PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from kb.accounts import Passwords
from kb.database import Database
from tests.conftest import Clock
from tests.kb.accounts.people import People, make_accounts, quick_passwords


@pytest.fixture
def passwords() -> Passwords:
    return quick_passwords()


@pytest.fixture
def people(database: Database, clock: Clock, tmp_path: Path) -> People:
    """Runs the test on SQLite and on PostgreSQL."""
    made = make_accounts(database, tmp_path / "home", clock)
    return People(database, clock, made.sessions, made.sign_in, made.registration, made.administration)
