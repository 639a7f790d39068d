"""Access: what the one who asks may not see or do, and what is hidden from them as if it did not exist."""

from __future__ import annotations

from kb.errors.base import N_, Unavailable, UserError


class PageClosed(UserError):
    """No page of ours sent the request, or one that is out of date."""

    message = N_("This request does not come from a page that is open.")
    remedy = N_("Reload the page, then try again.")


class NotFound(UserError):
    """It does not exist, or belongs to somebody else."""

    message = N_("This {what} no longer exists, or you do not have access to it.")
    remedy = N_("Go back to the list and refresh the page.")


class EditNotAllowed(UserError):
    """It is shared with the user, but not for editing."""

    message = N_("This {what} is shared with you for reading only.")
    remedy = N_("Ask its owner to let you edit it.")


class OwnerOnly(UserError):
    """It is shared with the user, but belongs to somebody else."""

    message = N_("Only the owner of this {what} can do this.")
    remedy = N_("Ask its owner.")


class NobodyChosen(UserError):
    message = N_("Nobody is chosen.")
    remedy = N_("Choose with whom to share it.")


class KeyRefused(UserError):
    """It is unknown, expired or revoked, or its user is suspended: which of these is nobody's business."""

    message = N_("This API key is not valid.")
    remedy = N_("Create another one on the page “API”.")


class TooManyRequests(UserError):
    """Of a program: see `kb.access.request_limits`."""

    message = N_("Too many requests in a short time.")
    remedy = N_("Try again in {seconds} s.")


class RequestStalled(Unavailable):
    """The client has not sent all of a small body."""

    message = N_("Your request did not arrive completely within {seconds} s.")
    remedy = N_("Check the connection, then try again.")


class TooManyAnswers(UserError):
    """Of a person, on the pages and by the programs with their keys."""

    message = N_("You have asked for as many answers as you may in a minute: {most}.")
    remedy = N_("Try again in {seconds} s.")
    retry_helps = True


class ContentTooLarge(UserError):
    """Of a program: its request, other than an upload."""

    message = N_("The request body is larger than {most} MB.")
    remedy = N_("Send less text in one request.")


class RequestRunning(UserError):
    """Of a program, with an idempotency key."""

    message = N_("The first request with this Idempotency-Key has not ended yet.")
    remedy = N_("Send it again in a moment.")
    retry_helps = True


class IdempotencyKeyReused(UserError):
    message = N_("This Idempotency-Key was used for another request.")
    remedy = N_("Make a new one for each request, and send it again only with the same request.")


class NoScopeChosen(UserError):
    message = N_("The API key would allow nothing.")
    remedy = N_("Choose what it allows.")


class NoKnowledgeBaseChosen(UserError):
    message = N_("No knowledge base is chosen.")
    remedy = N_("Choose some, or all that you can see.")


class OutOfScope(UserError):
    message = N_("This API key does not allow this; it needs the scope “{scope}”.")
    remedy = N_("Use a key with that scope, which is not limited to some knowledge bases if the call concerns others.")


class PersonOnly(UserError):
    message = N_("API keys are made and revoked by people who have signed in, not by programs.")
    remedy = N_("Open the page “API”.")
