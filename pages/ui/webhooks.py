"""Webhooks on the page “API”: which programs are told of events, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import streamlit as st

from kb.errors import RedisUnavailable, from_code
from kb.extracts import escape_markdown as escape
from kb.fetching.addresses import show_address
from kb.models import KnowledgeBase, User
from kb.webhooks import Delivery, Event, Webhook
from pages.ui.feedback import confirm, errors_flashed, live_fragment, missing_worker, redraw
from pages.ui.i18n import _, ago, error_text, join_list, join_sentences, ngettext
from pages.ui.reach import reach_text
from pages.ui.resources import services
from pages.ui.scope import base_labels
from pages.ui.webhook_form import EVENTS, STANDARD, event_names, open_webhook_form

POLL_SECONDS = 2.0  # while a delivery is due
LOOK_SECONDS = 15.0
SOON = timedelta(minutes=2)
SHOWN_DELIVERIES = 20
MORE_KEY = "more_webhook"


def draw_webhooks(user: User, bases: Sequence[KnowledgeBase]) -> None:
    webhooks = services().webhooks.list(user.principal)
    st.write(
        _(
            "A webhook tells a program of yours when a document is ready or has failed, so that it need not keep "
            "asking: Zhiwen sends it a POST with JSON, and tries again for two days if it does not answer."
        )
    )
    if not webhooks:
        st.caption(
            _(
                "Each event is signed in the form of [Standard Webhooks]({url}), whose libraries check it. docs/api.md "
                "describes what is sent."
            ).format(url=STANDARD)
        )
    if st.button(
        _("New webhook"), key="new_webhook", icon=":material/add:", type="secondary" if webhooks else "primary"
    ):
        open_webhook_form(user, bases)
    if not webhooks:
        return
    is_awaited = _is_awaited(user)

    @live_fragment(POLL_SECONDS if is_awaited else LOOK_SECONDS)
    def live() -> None:
        is_awaited_now = _is_awaited(user)  # asked first, so that what ended meanwhile is drawn once more
        if is_awaited_now:
            _draw_missing_worker()
        current, last = services().webhooks.list(user.principal), services().webhooks.last_deliveries(user.principal)
        for webhook in current:
            _draw_webhook(user, bases, webhook, last.get(webhook.id))
        if is_awaited != is_awaited_now or not current:
            redraw()  # to look more or less often

    live()


def _is_awaited(user: User) -> bool:
    """Whether a delivery may end any moment."""
    return services().webhooks.is_due(user.principal, datetime.now(UTC) + SOON)


def _is_on(webhook: Webhook) -> bool:
    return not (webhook.disabled_at or webhook.has_lost_key)


def _draw_missing_worker() -> None:
    try:
        workers = services().board.workers()
    except RedisUnavailable:
        return  # the System page says so
    if not workers:
        st.warning(missing_worker(), icon=":material/engineering:")


# --- one of them ---


def _draw_webhook(user: User, bases: Sequence[KnowledgeBase], webhook: Webhook, last: Delivery | None) -> None:
    with st.container(border=True, key=f"webhook-{webhook.id}"):
        with st.container(horizontal=True, vertical_alignment="center", key=f"line-webhook-{webhook.id}"):
            st.markdown(f"**{escape(show_address(webhook.address))}** {_badge(webhook)}", width="stretch")
            _draw_actions(user, bases, webhook)
        st.markdown(escape(" · ".join(_told(webhook, base_labels(bases)))))
        if state := _state(webhook):
            st.caption(state)
        if last is None:
            st.caption(_("Nothing has been sent yet."))
            return
        st.caption(_line(webhook, last))
        with st.expander(_("Recent deliveries"), key=f"deliveries-{webhook.id}", on_change="rerun") as body:
            if body.open:
                _draw_deliveries(user, webhook)


def _badge(webhook: Webhook) -> str:
    if webhook.has_lost_key:
        colour, text = "red", _("Its API key is no longer valid")
    elif webhook.disabled_at:
        colour, text = ("red", _("Stopped after failures")) if webhook.failing_since else ("gray", _("Off"))
    else:
        colour, text = ("orange", _("Failing")) if webhook.failing_since else ("green", _("On"))
    return f":{colour}-badge[{text}]"


def _told(webhook: Webhook, labels: Mapping[UUID, str]) -> Iterator[str]:
    names = event_names()
    told = [names[event] for event in EVENTS if event in webhook.events]
    yield join_list(told) if webhook.events else _("All events")
    yield reach_text(webhook.knowledge_base_ids, labels)
    if webhook.key_name:
        yield _("made with the API key “{name}”").format(name=webhook.key_name)


def _state(webhook: Webhook) -> str:
    """What is wrong with it, and what to do."""
    if webhook.has_lost_key:
        return _(
            "The API key that made it was revoked or has expired. Delete it, and add it again if you still need it."
        )
    if webhook.disabled_at and webhook.failing_since:
        return _(
            "No delivery succeeded, so it was switched off {when}. Fix the receiving program, then switch it on."
        ).format(when=ago(webhook.disabled_at))
    if webhook.failing_since and not webhook.disabled_at:
        return _("The first failure was {when}. After 36 hours without a success, it is switched off.").format(
            when=ago(webhook.failing_since)
        )
    return ""


def _draw_actions(user: User, bases: Sequence[KnowledgeBase], webhook: Webhook) -> None:
    if _is_on(webhook):
        st.button(_("Send a test"), key=f"test_webhook-{webhook.id}", on_click=_test, args=(user, webhook))
    elif not webhook.has_lost_key:
        st.button(_("Switch on"), key=f"enable_webhook-{webhook.id}", on_click=_switch_on, args=(user, webhook))
    more = f"{MORE_KEY}-{webhook.id}"
    close = partial(_close, more)
    with st.popover(_("More"), icon=":material/more_horiz:", key=more, on_change="rerun"):
        if st.button(_("Edit…"), key=f"edit_webhook-{webhook.id}", width="stretch", on_click=close):
            open_webhook_form(user, bases, webhook)
        if _is_on(webhook):
            off = partial(_switch_off, user, webhook, more)
            st.button(_("Switch off"), key=f"disable_webhook-{webhook.id}", width="stretch", on_click=off)
        if st.button(
            _("Delete…"),
            key=f"delete_webhook-{webhook.id}",
            icon=":material/delete:",
            width="stretch",
            on_click=close,
        ):
            _confirm_delete(user, webhook)


def _close(popover: str) -> None:
    """Otherwise it stays open above a dialog."""
    st.session_state[popover] = False


def _confirm_delete(user: User, webhook: Webhook) -> None:
    question = _(
        "Delete the webhook “{address}”? Events that are waiting will not be sent. This cannot be undone."
    ).format(address=escape(show_address(webhook.address)))
    confirm(_("Delete webhook"), question, _("Delete"), partial(_delete, user, webhook), "confirm_delete_webhook")


def _delete(user: User, webhook: Webhook) -> None:
    with errors_flashed():
        services().webhooks.delete(user.principal, webhook.id)


def _test(user: User, webhook: Webhook) -> None:
    with errors_flashed():
        services().webhooks.test(user.principal, webhook.id)


def _switch_on(user: User, webhook: Webhook) -> None:
    with errors_flashed():
        services().webhooks.enable(user.principal, webhook.id)


def _switch_off(user: User, webhook: Webhook, popover: str) -> None:
    _close(popover)
    with errors_flashed():
        services().webhooks.disable(user.principal, webhook.id)


# --- what was sent ---


def _draw_deliveries(user: User, webhook: Webhook) -> None:
    for delivery in services().webhooks.deliveries(user.principal, webhook.id, None, SHOWN_DELIVERIES):
        with st.container(horizontal=True, vertical_alignment="center", key=f"line-delivery-{delivery.id}"):
            st.markdown(_line(webhook, delivery), width="stretch")
            if _can_resend(webhook, delivery):
                key, args = f"resend-{delivery.id}", (user, webhook, delivery)
                st.button(_("Send again"), key=key, type="tertiary", on_click=_resend, args=args)
    st.caption(_("Deliveries are kept for a week."))


def _can_resend(webhook: Webhook, delivery: Delivery) -> bool:
    """Whether it did not arrive, and nothing is going to happen soon by itself. A test is made anew."""
    is_soon = delivery.due_at is not None and delivery.due_at <= datetime.now(UTC) + SOON
    return not delivery.delivered_at and not is_soon and _is_on(webhook) and delivery.event != Event.TEST


def _resend(user: User, webhook: Webhook, delivery: Delivery) -> None:
    with errors_flashed():
        services().webhooks.resend(user.principal, webhook.id, delivery.id)


def _line(webhook: Webhook, delivery: Delivery) -> str:
    """What a delivery told, what came of it and when, as Markdown."""
    event = event_names().get(delivery.event, delivery.event)
    parts = [escape(event), escape(delivery.document_name), *_outcome(webhook, delivery)]
    return f"{_icon(webhook, delivery)} {' · '.join(filter(None, parts))}"


def _icon(webhook: Webhook, delivery: Delivery) -> str:
    if delivery.delivered_at:
        return ":green[:material/check_circle:]"
    if delivery.due_at and _is_on(webhook):
        return ":orange[:material/schedule:]"
    return ":red[:material/error:]" if delivery.error else ":gray[:material/block:]"


def _outcome(webhook: Webhook, delivery: Delivery) -> Iterator[str]:
    if delivery.delivered_at:
        yield _("delivered {when}").format(when=ago(delivery.delivered_at))
    elif delivery.due_at and _is_on(webhook):
        if delivery.attempts <= 1 and not delivery.error:  # its first attempt may be under way
            yield _("being sent") if delivery.attempts else _("waiting to be sent")
            return
        yield _("not delivered yet")
    else:
        yield _("not delivered ({when})").format(when=ago(delivery.created_at))
    if delivery.status and not delivery.error:  # else the reason says it
        yield f"HTTP {delivery.status}"
    if delivery.attempts and (delivery.attempts > 1 or not delivery.delivered_at):
        yield ngettext("{count} attempt", "{count} attempts", delivery.attempts)
    if delivery.due_at and delivery.attempts and _is_on(webhook):
        is_now = delivery.due_at <= datetime.now(UTC)
        yield _("retrying now") if is_now else _("next attempt {when}").format(when=ago(delivery.due_at))
    if delivery.error:
        yield escape(join_sentences(*error_text(from_code(delivery.error, delivery.error_values))))
