"""A provider, and an installation that knows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kb.database import Database
from kb.models import Account
from tests.conftest import Clock, MakeSettings, copy_sqlite
from tests.fakes.oidc_server import OidcServer
from tests.kb.accounts.people import make_accounts
from tests.web.oidc.site import Site, come


@pytest.fixture
def server() -> Iterator[OidcServer]:
    with OidcServer() as server:
        yield server


@pytest.fixture
def site(make_settings: MakeSettings, migrated_sqlite: Path, clock: Clock, server: OidcServer) -> Iterator[Site]:
    settings = make_settings()
    copy_sqlite(migrated_sqlite, settings)
    database = Database(settings, durable=False)
    accounts = make_accounts(database, settings.home, clock, (server.provider(),))
    yield Site(database, accounts, server)
    database.close()


@pytest.fixture
def root(site: Site) -> Account:
    return site.first(site.browser())


@pytest.fixture
def open_to_all(site: Site, root: Account) -> Account:
    """Whoever comes has an account by now: `u-1` of the provider, called Ada."""
    site.accounts.registration.mode = "open"
    come(site.browser())
    for account in site.accounts.administration.accounts(root.principal):
        if account.awaits_approval:
            site.accounts.administration.approve(root.principal, account.id)
            return account
    raise AssertionError
