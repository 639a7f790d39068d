"""The Streamlit script: page configuration, the parts, the sidebar, navigation."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from pathlib import Path

import streamlit as st

from kb.errors import KbError, SignedOut
from pages.ui import resources
from pages.ui.account import draw_account, draw_signed_out
from pages.ui.feedback import show_error, show_flash
from pages.ui.frame import BY_LINK, FOR_ADMINISTRATORS, OF_ACCOUNTS, PAGES, PAGES_FOLDER, draw_frame
from pages.ui.i18n import LANGUAGE_KEY, LANGUAGES, _, browser_language
from pages.ui.shown_once import take_made
from pages.ui.state import keep_choices, state
from pages.ui.talks import CHAT, draw_talks

HERE = Path(__file__).parent


def main() -> None:
    # Before the navigation: it would have the browser load the page's icon from another site.
    st.set_page_config(page_icon=str(HERE / "ui" / "icon.png"))
    draw_language()  # first, so that everything else is drawn in the language that the address names by now
    hidden = BY_LINK + not_for_user()
    page = st.navigation(
        [
            st.Page(
                PAGES_FOLDER / file,
                title=_(title),
                icon=icon,
                url_path=path,
                default=not path,
                visibility="hidden" if path in hidden else "visible",
            )
            for path, (file, title, icon) in PAGES.items()
        ]
    )
    st.set_page_config(
        page_title=" · ".join([page.title, _("Zhiwen")]),
        # Lines of prose stay readable; lists and tables may be wider (style.css; web.page_style adds it).
        layout="wide" if page.url_path not in (CHAT, *BY_LINK) else "centered",
        # Streamlit shows the menu, and with it the choice of the theme, only if there is an entry of the app's own.
        menu_items={"About": _("Ask your documents, and see why each answer was found.")},
    )
    st.logo(HERE / "ui" / "logo.png", size="large")
    failure = find_failure()
    if not failure:
        state().unsent, state().has_unsent_files = "", False
    draw_frame(page.url_path, isinstance(failure, SignedOut))
    if isinstance(failure, SignedOut):
        take_made()  # whoever signs in next does not see it
        draw_signed_out()
        st.stop()
    if failure:
        show_error(failure)
        st.button(_("Try again"), key="start_again")
        st.stop()
    state().page = page.url_path
    with suppress(KbError):  # the page itself says what does not respond
        keep_choices()
    state().has_dialog = state().has_parts = False
    # The chat shows its end, so what is said there must stand above the input field.
    with st.bottom if page.url_path == CHAT else nullcontext():
        show_flash()
    draw_account()
    draw_talks(page.url_path)
    page.run()
    take_made()  # if another page was opened before it could be shown


def find_failure() -> KbError | None:
    """Why no page can be drawn: the process has not started, or nobody is signed in."""
    try:
        resources.services()
        resources.current_account()
    except KbError as error:
        return error
    return None


def not_for_user() -> tuple[str, ...]:
    """The pages that the menu leaves out for whoever uses it."""
    try:
        account = resources.current_account()
    except KbError:  # whatever it is, the page will say so
        return FOR_ADMINISTRATORS
    if account is None:
        return OF_ACCOUNTS
    return () if account.is_administrator else FOR_ADMINISTRATORS


def draw_language() -> None:
    """The choice of language, which style.css moves to the sidebar's end.

    Another one than the browser's stays in the address.
    """
    codes = list(LANGUAGES)
    st.sidebar.selectbox(
        "Language · 语言 · 語言",
        codes,
        index=codes.index(browser_language()),
        format_func=LANGUAGES.__getitem__,
        key=LANGUAGE_KEY,
        bind="query-params",
    )


main()
