"""Webhooks: why programs could not be told of events."""

from __future__ import annotations

from kb.errors.base import N_, KbError, UserError


class TooManyWebhooks(UserError):
    message = N_("You have {limit} webhooks already.")
    remedy = N_("Delete one that is not needed any more.")


class WebhookRefused(KbError):
    """The receiver did not answer with a status of success. Redirects are not followed."""

    message = N_("{host} answered with HTTP {status}.")
    remedy = N_("Check the address of the webhook and the log of the program that receives it.")
    transient = True


class WebhookSecretLost(KbError):
    """SECRET_KEY or the key file is another one now."""

    message = N_("The secret of this webhook cannot be decrypted.")
    remedy = N_("Delete the webhook and create it again.")
    retry_helps = False
