"""Webhooks: where programs are told that documents have ended, instead of asking."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from kb.webhooks import ADDRESS_CHARACTERS, Delivery, Event, Webhook
from web.api.paging import Cursor, Limit, Page, cursor_of, place_of
from web.api.parties import Serving, Writer
from web.api.problems import language_of, reason_of
from web.api.repeats import NewId, Repeatable

router = APIRouter(prefix="/webhooks", tags=["webhooks"], route_class=Repeatable)
MOST_BASES = 100
ADDRESS = "https://hooks.example/zhiwen"
WEBHOOK_ID = "5c1b7f0e-2f7a-4a58-9a65-0b6b3a0d9d11"
DELIVERY_ID = "8e0f4c52-6d1b-4f39-a3c7-1d2e5b9f7a60"
WebhookId = Annotated[UUID, Path(examples=[WEBHOOK_ID])]
DeliveryId = Annotated[UUID, Path(examples=[DELIVERY_ID])]


class WebhookIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    address: str = Field(
        max_length=ADDRESS_CHARACTERS,
        description="It gets a POST for each event, and answers with 2xx within 10 s. ALLOWED_FETCH_HOSTS names those "
        "that are not on the public internet.",
        examples=[ADDRESS],
    )
    events: list[Event] = Field(default=[], max_length=20, description="Only these; empty: all.")
    knowledge_base_ids: list[UUID] | None = Field(
        default=None, min_length=1, max_length=MOST_BASES, description="Only of these; null: of all that you may view."
    )


class WebhookOut(BaseModel):
    id: UUID = Field(examples=[WEBHOOK_ID])
    address: str = Field(examples=[ADDRESS])
    events: list[Event]
    knowledge_base_ids: list[UUID] | None
    created_at: datetime
    failing_since: datetime | None = Field(description="Nothing arrived since then; null: it works.")
    disabled_at: datetime | None = Field(description="It is off: disabled, or given up if it was failing; null: on.")
    has_lost_key: bool = Field(description="The key that made it was revoked or has expired: nothing is sent any more.")

    @classmethod
    def of(cls, webhook: Webhook) -> WebhookOut:
        return cls(
            id=webhook.id,
            address=webhook.address,
            events=sorted(webhook.events),
            knowledge_base_ids=None if webhook.knowledge_base_ids is None else list(webhook.knowledge_base_ids),
            created_at=webhook.created_at,
            failing_since=webhook.failing_since,
            disabled_at=webhook.disabled_at,
            has_lost_key=webhook.has_lost_key,
        )


class NewWebhook(WebhookOut):
    secret: str = Field(description="It signs what is sent (standardwebhooks.com), and is not shown again.")


class DeliveryOut(BaseModel):
    id: UUID = Field(description="The header webhook-id: the same at each attempt.")
    event: str = Field(examples=[Event.DOCUMENT_READY])
    created_at: datetime
    due_at: datetime | None = Field(description="Of the next attempt; null: there is none.")
    delivered_at: datetime | None
    attempts: int = Field(examples=[1])
    status: int = Field(description="HTTP status of the last reply; 0: there was none.", examples=[200])
    error: str = Field(description="The code of why the last attempt failed.", examples=[""])
    reason: str = Field(description="Why it failed and what to do, in words.", examples=[""])

    @classmethod
    def of(cls, delivery: Delivery, language: str) -> DeliveryOut:
        reason = reason_of(delivery.error, delivery.error_values, language)
        return cls(
            id=delivery.id,
            event=delivery.event,
            created_at=delivery.created_at,
            due_at=delivery.due_at,
            delivered_at=delivery.delivered_at,
            attempts=delivery.attempts,
            status=delivery.status,
            error=delivery.error,
            reason=reason,
        )


EXAMPLE = {"address": ADDRESS, "events": [Event.DOCUMENT_READY, Event.DOCUMENT_FAILED]}


@router.post("", status_code=201)
def create_webhook(
    parties: Serving,
    acting: Writer,
    wanted: Annotated[WebhookIn, Body(openapi_examples={"documents": {"value": EXAMPLE}})],
    new_id: NewId,
) -> NewWebhook:
    """It is told of the knowledge bases that you may view, as long as the key that made it is valid."""
    webhook, secret = parties.services.webhooks.create(
        acting, wanted.address, wanted.events, wanted.knowledge_base_ids, new_id
    )
    return NewWebhook(**WebhookOut.of(webhook).model_dump(), secret=secret.get_secret_value())


@router.get("")
def list_webhooks(parties: Serving, acting: Writer) -> list[WebhookOut]:
    """The newest first."""
    return [WebhookOut.of(webhook) for webhook in parties.services.webhooks.list(acting)]


@router.get("/{webhook_id}")
def get_webhook(parties: Serving, acting: Writer, webhook_id: WebhookId) -> WebhookOut:
    return WebhookOut.of(parties.services.webhooks.get(acting, webhook_id))


@router.put("/{webhook_id}")
def change_webhook(
    parties: Serving,
    acting: Writer,
    webhook_id: WebhookId,
    wanted: Annotated[WebhookIn, Body(openapi_examples={"documents": {"value": EXAMPLE}})],
) -> WebhookOut:
    """All of it at once. The secret stays; what waits is sent to the new address, as long as your key is valid."""
    changed = parties.services.webhooks.change(
        acting, webhook_id, wanted.address, wanted.events, wanted.knowledge_base_ids
    )
    return WebhookOut.of(changed)


@router.delete("/{webhook_id}", status_code=204)
def delete_webhook(parties: Serving, acting: Writer, webhook_id: WebhookId) -> Response:
    """With what waits to be sent."""
    parties.services.webhooks.delete(acting, webhook_id)
    return Response(status_code=204)


@router.post("/{webhook_id}/enable")
def enable_webhook(parties: Serving, acting: Writer, webhook_id: WebhookId) -> WebhookOut:
    """After it was disabled. What was missed is not sent."""
    return WebhookOut.of(parties.services.webhooks.enable(acting, webhook_id))


@router.post("/{webhook_id}/disable")
def disable_webhook(parties: Serving, acting: Writer, webhook_id: WebhookId) -> WebhookOut:
    """It is sent nothing, and nothing that waits, until it is enabled."""
    return WebhookOut.of(parties.services.webhooks.disable(acting, webhook_id))


@router.post("/{webhook_id}/test", status_code=202)
def test_webhook(request: Request, parties: Serving, acting: Writer, webhook_id: WebhookId) -> DeliveryOut:
    """Send it the event `webhook.test`, in place of one that still waits; its deliveries tell what came of it."""
    return DeliveryOut.of(parties.services.webhooks.test(acting, webhook_id), language_of(request))


@router.post("/{webhook_id}/deliveries/{delivery_id}/resend", status_code=202)
def resend_delivery(
    request: Request, parties: Serving, acting: Writer, webhook_id: WebhookId, delivery_id: DeliveryId
) -> DeliveryOut:
    """Send one that did not arrive once more, now, with the same id and body. One that did arrive stays as it is."""
    return DeliveryOut.of(parties.services.webhooks.resend(acting, webhook_id, delivery_id), language_of(request))


@router.get("/{webhook_id}/deliveries")
def list_deliveries(
    request: Request, parties: Serving, acting: Writer, webhook_id: WebhookId, limit: Limit = 50, cursor: Cursor = ""
) -> Page[DeliveryOut]:
    """The newest first. They are kept for a week."""
    found = parties.services.webhooks.deliveries(acting, webhook_id, place_of(cursor), limit + 1)
    following = cursor_of(found[limit - 1].created_at, found[limit - 1].id) if len(found) > limit else None
    return Page(items=[DeliveryOut.of(each, language_of(request)) for each in found[:limit]], next=following)
