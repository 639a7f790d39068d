"""The audit log: administrators see who did what, and when; search, filter and download it."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import streamlit as st

from kb.access import Principal
from kb.audit import Kind, acting_from
from kb.audit.log import Event, Filter
from kb.extracts import escape_markdown as escape
from kb.models import Account
from pages.ui.account import draw_for_administrators
from pages.ui.audit_texts import event_address, event_text, kind_names
from pages.ui.i18n import _, moment, ngettext, time_zone
from pages.ui.resources import services
from pages.ui.session_cookie import page_address

PAGE_EVENTS = 50
SEARCH_KEY, PERSON_KEY, KIND_KEY = "audit_search", "audit_person", "audit_kind"
SINCE_KEY, UNTIL_KEY, PAGE_KEY = "audit_since", "audit_until", "audit_page"


def main() -> None:
    st.header(_("Audit log"), anchor=False)
    draw_for_administrators(draw_log)


def draw_log(account: Account) -> None:
    me = account.principal
    log = services().audit
    st.caption(ngettext("Events are kept for {count} day.", "Events are kept for {count} days.", log.days))
    wanted = draw_filters(me)
    total = log.count(me, wanted)
    if not total:
        narrowed = wanted != Filter()
        st.write(_("No event matches.") if narrowed else _("Nothing has been recorded yet."))
        if narrowed:
            st.button(_("Show all events"), key="audit_show_all", on_click=_clear)
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(ngettext("{count} event", "{count} events", total), width="stretch")
        st.download_button(
            _("Download as CSV"),
            partial(_export, page_address(), me, wanted),
            "zhiwen-audit.csv",
            "text/csv",
            key="audit_download",
            icon=":material/download:",
            on_click="ignore",
        )
    pages = -(-total // PAGE_EVENTS)
    page = min(st.session_state.get(PAGE_KEY, 1), pages)
    with st.container(border=True, gap="small", key="audit_events"):
        for event in log.search(me, wanted, (page - 1) * PAGE_EVENTS, PAGE_EVENTS):
            draw_event(event)
    if pages > 1:
        st.session_state[PAGE_KEY] = page
        st.pagination(pages, key=PAGE_KEY)


def _export(address: str | None, me: Principal, wanted: Filter) -> bytes:
    """By a click, in a thread that knows no page."""
    acting_from(address or "")
    return services().audit.export(me, wanted)


def draw_event(event: Event) -> None:
    with st.container(gap=None, key=f"audit_event-{event.id}"):
        who = escape(event.user_name) or _("Somebody without an account")
        times = ngettext("{count} time", "{count} times", event.times) if event.times > 1 else ""
        st.markdown(f"**{who}** · {event_text(event)}{f' · {times}' if times else ''}")
        via = _("with the API key “{name}”").format(name=event.key_name) if event.key_name else ""
        thing = f"ID {event.target_id}" if event.target_id else ""
        st.caption(escape(" · ".join(filter(None, [moment(event.at), event_address(event), via, thing]))))


def draw_filters(me: Principal) -> Filter:
    people = {account.id: account.name for account in services().accounts.administration.accounts(me)}
    kinds = kind_names()
    # The choice of all is "": a box whose choice is None has Streamlit's own words and a button to clear it.
    with st.container(horizontal=True, vertical_alignment="bottom", key="audit-filters"):
        search = st.text_input(
            _("Search"),
            key=SEARCH_KEY,
            type="search",
            placeholder=_("Names, addresses"),
            icon=":material/search:",
            on_change=_show_first_page,
        )
        person = _choice(_("Person"), PERSON_KEY, people, _("Everybody"))
        kind = _choice(_("What"), KIND_KEY, kinds, _("Everything"))
        since, until = _date(_("From day"), SINCE_KEY), _date(_("To day"), UNTIL_KEY)
    return Filter(
        user_id=person if isinstance(person, UUID) else None,
        kind=kind if isinstance(kind, Kind) else None,
        since=_midnight(since) if since else None,
        before=_midnight(until + timedelta(days=1)) if until else None,
        text=(search or "").strip(),
    )


def _choice(label: str, key: str, names: dict[Any, str], for_all: str) -> object:
    return st.selectbox(
        label,
        ["", *names],
        format_func=lambda each: names.get(each, "…") if each else for_all,
        key=key,
        width=130,
        on_change=_show_first_page,
    )


def _date(label: str, key: str) -> date | None:
    return st.date_input(label, None, key=key, format="YYYY-MM-DD", width=180, on_change=_show_first_page)


def _midnight(day: date) -> datetime:
    """The beginning of a day where the browser is."""
    return datetime.combine(day, time(), time_zone())


def _show_first_page() -> None:
    st.session_state[PAGE_KEY] = 1  # of what another search finds


def _clear() -> None:
    for key in (SEARCH_KEY, PERSON_KEY, KIND_KEY):
        st.session_state[key] = ""
    for key in (SINCE_KEY, UNTIL_KEY):
        st.session_state[key] = None
    _show_first_page()


main()
