"""The frame around every page: the list of pages, and what the browser does for it (frame.js, session.js)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import streamlit as st

from kb.errors import N_
from pages.ui.feedback import FRAME
from pages.ui.i18n import language, translate
from pages.ui.resources import has_login
from pages.ui.session_cookie import home_path, page_owner
from pages.ui.state import open_conversation_id, state

PAGES_FOLDER = Path(__file__).parents[1]
# Path in the address → file, title, icon. The empty path is the page that opens first.
PAGES = {
    "": ("chat.py", N_("Chat"), ":material/forum:"),
    "knowledge-bases": ("knowledge_bases.py", N_("Knowledge bases"), ":material/library_books:"),
    "testing": ("testing.py", N_("Retrieval testing"), ":material/experiment:"),
    "models": ("models.py", N_("Models"), ":material/network_intelligence:"),
    "api-keys": ("api_keys.py", N_("API"), ":material/api:"),
    "history": ("history.py", N_("History"), ":material/history:"),
    "shared": ("shared.py", N_("Shared conversation"), ":material/forum:"),
    "users": ("users.py", N_("Users"), ":material/group:"),
    "audit": ("audit.py", N_("Audit log"), ":material/policy:"),
    "usage": ("usage.py", N_("Usage"), ":material/monitoring:"),
    "system": ("system.py", N_("System"), ":material/monitor_heart:"),
}
BY_LINK = ("shared",)  # in nobody's menu
OF_ACCOUNTS = ("users", "audit")  # only where there is a login
FOR_ADMINISTRATORS = (*OF_ACCOUNTS, "usage")  # in the menu for nobody else; without a login everybody is one
HTML_LANGUAGES = {"en": "en", "zh_CN": "zh-Hans", "zh_TW": "zh-Hant"}

_LOST = N_("Zhiwen is not responding. This page reconnects automatically; if Zhiwen was stopped, start it again.")
# Streamlit writes these in English only, and offers no way to translate them. CSS selector, attribute (empty: the text
# itself), and Streamlit's text → ours.
STREAMLIT_WORDS: list[tuple[str, str, dict[str, str]]] = [
    ("[data-testid=stSkipToContent]", "", {"Skip to main content": N_("Skip to main content")}),
    ("[data-testid=stSidebar]", "aria-label", {"Sidebar": N_("Sidebar")}),
    ("[data-testid=stSidebarNav]", "aria-label", {"App pages": N_("Pages")}),
    (
        "[data-testid=stSidebar] button, [data-testid=stHeader] button",
        "aria-label",
        {
            "Collapse sidebar": N_("Close the sidebar"),
            "Expand sidebar": N_("Open the sidebar"),
            "Navigate to home page": N_("Go to the chat"),
            "Main menu": N_("Menu"),
        },
    ),
    (".st-key-new_conversation [aria-label]", "aria-label", {"Shortcut {keys}": N_("Shortcut {keys}")}),
    (
        "[data-testid=stMainMenuPopover]",
        "",
        {"System": N_("System"), "Light": N_("Light"), "Dark": N_("Dark"), "About": N_("About Zhiwen")}
        | {"Made with Streamlit v": N_("Made with Streamlit v")},
    ),
    (
        "[data-testid=stMainMenuPopover] [aria-label]",
        "aria-label",
        {"Theme": N_("Theme"), "Main menu": N_("Menu"), "Copy version to clipboard": N_("Copy")},
    ),
    ("img[data-testid=stSidebarLogo], img[data-testid=stHeaderLogo]", "alt", {"Logo": N_("Zhiwen")}),
    (
        "[data-testid=stStatusWidget]",
        "",
        {
            "Connecting": N_("Connecting…"),
            "Error": N_("Not connected"),
            "Stop": N_("Stop"),
            "Stopping...": N_("Stopping…"),
        },
    ),
    ("[data-testid=stStatusWidget] [aria-label]", "aria-label", {"Running...": N_("Working…")}),
    (
        "[data-testid=stTooltipContent]",
        "",
        {
            "Connecting to Streamlit server": N_("Connecting to Zhiwen"),
            "Unable to connect to Streamlit server": N_("Cannot connect to Zhiwen"),
            "Copy": N_("Copy"),
            "Copy to clipboard": N_("Copy"),
            "Copied": N_("Copied"),
        },
    ),
    (
        "[role=dialog]",
        "",
        {
            "About": N_("About Zhiwen"),
            "Connection error": N_("Connection lost"),
            "Is Streamlit still running? {details}": _LOST,
            "streamlit run yourscript.py": "streamlit run webui_st.py",
            "Streamlit server is not responding. Are you connected to the internet?": _LOST,
            "Connection timed out.": _LOST,
            "Connection failed with status {status}": _LOST,
            "Script execution error": N_("This page has an error"),
            "Bad message format": N_("This page has an error"),
        },
    ),
    ("[role=dialog] button, [data-testid=stToast] button", "aria-label", {"Close": N_("Close")}),
    ("[data-testid=stToastContainer]", "aria-label", {"Notifications": N_("Notifications")}),
    (
        "[data-testid=stChatMessageContent]",
        "aria-label",
        {"Chat message from {name}": N_("Message")},
    ),
    (
        "[data-testid=stChatInput] :is(button, input)",
        "aria-label",
        {
            "Send message": N_("Send"),
            "Upload {kind}": N_("Attach files"),
            "file upload": N_("Attach files"),
            "Remove {name}": N_("Remove {name}"),
            "Cancel upload of {name}": N_("Remove {name}"),
        },
    ),
    (
        "[data-testid=stChatInput]",
        "",
        {
            "Drag and drop files here": N_("Drop files here to attach them"),
            "File must be {limit} or smaller.": N_("The file must be {limit} or smaller."),
        },
    ),
    ("[data-testid=stTooltipContent]", "", {"Upload or drag and drop {kind}": N_("Attach files to this conversation")}),
    (
        "[data-testid=stSelectbox] button, [data-testid=stTextInput] button, [data-testid=stNumberInput] button",
        "aria-label",
        {
            "Open": N_("Show the choices"),
            "Clear value": N_("Clear"),
            "Clear entry": N_("Clear"),
            "Show password": N_("Show"),
            "Hide password": N_("Hide"),
            "Increment": N_("More"),
            "Decrement": N_("Less"),
        },
    ),
    ("[data-testid=stSelectbox] input", "placeholder", {"Choose an option": N_("Choose an option")}),
    ("[role=listbox]", "", {"No results": N_("Nothing found")}),
    (
        "[data-testid=stDateInputField] [data-placeholder]",
        "",
        {"yyyy": N_("yyyy"), "mm": N_("mm"), "dd": N_("dd")},
    ),
    ("[data-testid=stDateInputField] button, [role=dialog]", "aria-label", {"Choose date": N_("Choose a date")}),
    (
        "[role=dialog] button",
        "aria-label",
        {"Previous month": N_("Previous month"), "Next month": N_("Next month")},
    ),
    ("[data-testid=stSelectboxVirtualDropdown] button", "aria-label", {"Dismiss": N_("Close")}),
    # Icons stand beside words that say the same.
    ("[role=img]", "aria-label", {"{name} icon": ""}),
    (
        "[data-testid=stTooltipHoverTarget] [aria-label]",
        "aria-label",
        {"Help": N_("Help"), "Help for {name}": N_("Help: {name}")},
    ),
    (
        "[data-testid=stCode] button",
        "aria-label",
        {"Copy to clipboard": N_("Copy"), "Copied": N_("Copied")},
    ),
    ("[data-testid=stCode] button", "title", {"Copy to clipboard": N_("Copy"), "Copied": N_("Copied")}),
    ("[data-testid=stProgress] [aria-label]", "aria-label", {"progress": N_("Progress")}),
    ("[data-testid=stHeaderActionElements] a", "aria-label", {"Link to heading": N_("Link to this heading")}),
    (
        "[data-testid=stPagination] [aria-label]",
        "aria-label",
        {
            "Pagination": N_("Pages"),
            "Previous page": N_("Previous page"),
            "Next page": N_("Next page"),
            "Page {number}": N_("Page {number}"),
        },
    ),
    (
        "[data-testid=stElementToolbar] [aria-label]",
        "aria-label",
        {
            "Fullscreen": N_("Full screen"),
            "Close fullscreen": N_("Leave full screen"),
            "Download as CSV": N_("Download as CSV"),
            "Search": N_("Search"),
            "Show/hide columns": N_("Choose columns"),
        },
    ),
]

SCRIPT = "\n".join((Path(__file__).parent / name).read_text("utf-8") for name in ("frame.js", "session.js"))

_browser = st.components.v2.component("zhiwen_frame", js=SCRIPT)


@cache
def _words(code: str) -> list[list[object]]:
    return [
        [at, attribute, [[text, translate(ours, code)] for text, ours in texts.items()]]
        for at, attribute, texts in STREAMLIT_WORDS
    ]


def unasked() -> str:
    """All that was sent and not asked, which ends with the session unless the browser keeps it."""
    current = state()
    refused = current.refused.draft.question if current.refused else ""
    return "\n\n".join(filter(None, (refused, waiting(), current.unsent)))


def waiting() -> str:
    """The question that is asked once the running answer has ended."""
    conversation_id = open_conversation_id()
    draft = state().next_questions.get(conversation_id) if conversation_id else None
    return draft.question if draft else ""


@st.fragment(key=FRAME)
def draw_frame(path: str, is_signed_out: bool = False) -> None:
    """Tell the browser the language, whose draft the chat's field holds, and when the sidebar may close.

    It closes after a choice, and on another page. The browser notices that nobody is signed in any more before the
    server does, which is asked to look then.
    """
    current = state()
    choice, asked = [path, language(), current.choices], current.asked_next
    data = {
        "language": HTML_LANGUAGES[language()],
        "words": _words(language()),
        "choice": str(choice),
        "conversation": str(open_conversation_id() or ""),
        "begun": str(current.begun or ""),
        "unsent": unasked() if is_signed_out else "",
        "home": home_path() if has_login() else "",
        "user": str(page_owner() or ""),
        "isSignedOut": is_signed_out,
        "hasUnsentFiles": bool(current.has_unsent_files or (current.refused and current.refused.draft.uploads)),
        "next": waiting(),
        "asked": [str(asked.conversation_id or ""), asked.question, asked.number],
    }
    st.html("<span></span>")  # so that the browser has the code for it before the first passage is opened
    # In a list: Streamlit would load pandas to look for data frames in a dict.
    _browser(key="frame", data=[data], on_ended_change=st.rerun)
