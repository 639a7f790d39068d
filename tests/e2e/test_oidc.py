"""A sign-in with a provider, as a browser sees it: cookies, redirects and the content security policy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from kb.accounts import FIRST_TOKEN_FILE
from tests.e2e.screen import SECONDS
from tests.e2e.test_accounts import PASSWORD, fill
from tests.e2e.web import Web
from tests.fakes.model_server import ModelServer
from tests.fakes.oidc_server import CLIENT_ID, CLIENT_SECRET, OidcServer


@pytest.fixture
def provider() -> Iterator[OidcServer]:
    with OidcServer() as server:
        yield server


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory, models: ModelServer, provider: OidcServer) -> Iterator[Web]:
    web = Web(
        tmp_path_factory.mktemp("oidc"),
        OPENAI_BASE_URL=models.base_url,
        EMBEDDING_MODEL="openai:fake-embedding",
        AUTH="local",
        OIDC_PROVIDERS="corp",
        OIDC_CORP_ISSUER=provider.url,
        OIDC_CORP_CLIENT_ID=CLIENT_ID,
        OIDC_CORP_CLIENT_SECRET=CLIENT_SECRET,
        OIDC_CORP_NAME="Corp",
    )
    web.start()
    yield web
    web.stop()


def test_user_connects_and_signs_in(browser: Browser, guarded: Web) -> None:
    page = browser.new_context(locale="en-US").new_page()
    page.set_default_timeout(30 * SECONDS)
    page.goto(f"{guarded.url}/signup")
    token = (guarded.home / FIRST_TOKEN_FILE).read_text().strip()
    fill(page, token=token, name="Ada", password=PASSWORD, again=PASSWORD)
    page.goto(f"{guarded.url}/account")
    page.get_by_role("link", name="Connect with Corp").click()
    expect(page.get_by_text("The accounts are connected.")).to_be_visible()
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.goto(f"{guarded.url}/audit")
    page.get_by_role("link", name="Sign in with Corp").click()
    expect(page).to_have_url(f"{guarded.url}/audit")
    expect(page.get_by_text("Connected the account with Corp")).to_be_visible()
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download as CSV").click()
    assert '"account.identity_connected"' in downloading.value.path().read_text(encoding="utf-8")
    page.reload()
    downloaded = page.locator("[class*=st-key-audit_event-]", has_text="Downloaded the audit log")
    expect(downloaded).to_contain_text("from 127.0.0.1")
    page.context.close()
