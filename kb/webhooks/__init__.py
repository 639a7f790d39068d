"""Webhooks: a program is told when a document has ended or lost something, or when background work fails.

`Webhooks` keeps where to send it. Whoever ends something writes an event into the outbox, in the transaction of that
end (`kb.webhooks.outbox`), so that no event is lost and none is told of what did not happen. Workers deliver what is in
the outbox (`kb.webhooks.deliveries`), in the form of https://www.standardwebhooks.com.
"""

from kb.webhooks.deliveries import Deliveries
from kb.webhooks.endpoints import ADDRESS_CHARACTERS, WEBHOOK, Delivery, Webhook, Webhooks
from kb.webhooks.outbox import Event

__all__ = ["ADDRESS_CHARACTERS", "WEBHOOK", "Deliveries", "Delivery", "Event", "Webhook", "Webhooks"]
