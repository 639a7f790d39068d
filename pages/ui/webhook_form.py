"""The dialog in which a webhook is added or changed."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import streamlit as st

from kb.errors import NoEventChosen
from kb.models import KnowledgeBase, User
from kb.webhooks import ADDRESS_CHARACTERS, Event, Webhook
from pages.ui.feedback import close_dialog_if, dialog, errors_flashed
from pages.ui.i18n import _
from pages.ui.reach import chosen_reach, draw_reach, fill_reach
from pages.ui.resources import services
from pages.ui.scope import base_labels
from pages.ui.shown_once import Making, note_made

ADDRESS_KEY, EVENT_KEY, REACH_KEY = "webhook_address", "webhook_event", "webhook"
STANDARD = "https://www.standardwebhooks.com"
EVENTS: list[Event] = [event for event in Event if event is not Event.TEST]  # a test is sent to all


def event_names() -> dict[str, str]:
    return {
        Event.DOCUMENT_READY: _("Document ready"),
        Event.DOCUMENT_FAILED: _("Document failed"),
        Event.DOCUMENT_CANCELLED: _("Document cancelled"),
        Event.DOCUMENT_UNSEARCHABLE: _("Document not searchable"),
        Event.DOCUMENT_FILE_MISSING: _("Original file missing"),
        Event.CLEAN_UP_FAILED: _("Clean-up failed"),
        Event.TEST: _("Test"),
    }


def _event_texts() -> dict[Event, str]:
    return {
        Event.DOCUMENT_READY: _("it can be searched, or a new version of it can"),
        Event.DOCUMENT_FAILED: _("it could not be processed"),
        Event.DOCUMENT_CANCELLED: _("it was cancelled before it was ready"),
        Event.DOCUMENT_UNSEARCHABLE: _("Milvus lacks some or all of it, so it has to be indexed again"),
        Event.DOCUMENT_FILE_MISSING: _("it has to be uploaded again"),
        Event.CLEAN_UP_FAILED: _("what was deleted could not be cleared, and is tried again"),
    }


def open_webhook_form(user: User, bases: Sequence[KnowledgeBase], webhook: Webhook | None = None) -> None:
    """Open the dialog: for a new webhook, or to change one."""
    making = Making(_title, _note)
    labels = base_labels(bases)
    _fill(webhook, labels)

    @dialog(_("Edit webhook") if webhook else _("New webhook"))
    def edit() -> None:
        st.text_input(
            _("Address"),
            key=ADDRESS_KEY,
            max_chars=ADDRESS_CHARACTERS,
            placeholder="https://example.com/zhiwen",
            help=_("Zhiwen sends a POST with JSON to it. Hosts inside your network must be in ALLOWED_FETCH_HOSTS."),
        )
        st.caption(_("Events to send:"))
        with st.container(gap="xxsmall"):
            names, texts = event_names(), _event_texts()
            for event in EVENTS:
                st.checkbox(f"**{names[event]}** · {texts[event]}", key=f"{EVENT_KEY}-{event}")
        if bases:
            draw_reach(REACH_KEY, labels)
        if webhook:
            done = st.button(_("Save"), key="save_webhook", type="primary", on_click=_change, args=(user, webhook))
        else:
            done = st.button(_("Create"), key="create_webhook", type="primary", on_click=_create, args=(user, making))
        close_dialog_if(done)

    edit()


def _fill(webhook: Webhook | None, seen: Collection[object]) -> None:
    """What the fields show when the dialog opens."""
    st.session_state[ADDRESS_KEY] = webhook.address if webhook else ""
    for event in EVENTS:
        is_told = webhook is None or not webhook.events or event in webhook.events
        st.session_state[f"{EVENT_KEY}-{event}"] = is_told
    limits = webhook.knowledge_base_ids if webhook else None
    fill_reach(REACH_KEY, None if limits is None else [each for each in limits if each in seen])


def _chosen_events() -> list[Event]:
    """None stands for all, also those of later releases. Errors: `NoEventChosen`."""
    chosen: list[Event] = [event for event in EVENTS if st.session_state[f"{EVENT_KEY}-{event}"]]
    if not chosen:
        raise NoEventChosen
    return [] if chosen == EVENTS else chosen


def _create(user: User, making: Making) -> None:
    with errors_flashed():
        events, reached = _chosen_events(), chosen_reach(REACH_KEY)
        if making.secret is None:
            _webhook, making.secret = services().webhooks.create(
                user.principal, st.session_state[ADDRESS_KEY], events, reached
            )
        note_made(making)


def _change(user: User, webhook: Webhook) -> None:
    with errors_flashed():
        events, reached = _chosen_events(), chosen_reach(REACH_KEY)
        services().webhooks.change(user.principal, webhook.id, st.session_state[ADDRESS_KEY], events, reached)


def _title() -> str:
    return _("Copy the secret of your webhook")


def _note() -> str:
    return _(
        "Copy it now, to where the program finds it: it cannot be shown again. With it, the program checks that an "
        "event is from Zhiwen, in the form of [Standard Webhooks]({url})."
    ).format(url=STANDARD)
