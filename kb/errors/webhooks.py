"""Webhooks: why programs could not be told of events."""

from __future__ import annotations

from kb.errors.base import N_, KbError, UserError


class TooManyWebhooks(UserError):
    message = N_("You have {limit} webhooks already.")
    remedy = N_("Delete one that is not needed any more.")


class NoEventChosen(UserError):
    message = N_("No event is chosen.")
    remedy = N_("Choose at least one event to send.")


class WebhookOff(UserError):
    """It was switched off or given up, or the key that made it is no longer valid."""

    message = N_("This webhook is off, so nothing is sent to it.")
    remedy = N_("Switch it on first. If its API key was revoked or has expired, delete it and add another one.")


class WebhookRefused(KbError):
    """The receiver did not answer with a status of success. Redirects are not followed."""

    message = N_("{host} answered with HTTP {status}.")
    remedy = N_("Check the address of the webhook and the log of the program that receives it.")
    transient = True


class WebhookSilent(KbError):
    message = N_("{host} did not answer within {seconds} s.")
    remedy = N_("Have the program answer at once, and do its work afterwards.")
    transient = True


class WebhookCutOff(KbError):
    message = N_("{host} closed the connection without an answer.")
    remedy = N_("Check the address of the webhook and the log of the program that receives it.")
    transient = True


class WebhookDefect(KbError):
    """A bug in Zhiwen."""

    message = N_("An unexpected error occurred while sending to {host} ({detail}).")
    remedy = N_("If it happens again, report it together with the worker's log.")


class WebhookSecretLost(KbError):
    """SECRET_KEY or the key file is another one now."""

    message = N_("The secret of this webhook cannot be decrypted.")
    remedy = N_("Delete the webhook and create it again.")
    retry_helps = False
