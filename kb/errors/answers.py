"""Questions, and the answers to them."""

from __future__ import annotations

from kb.errors.base import N_, KbError, UserError


class QuestionTooLong(UserError):
    message = N_("A question has at most {most} characters; this one has {count}.")
    remedy = N_("Shorten it, or put the text into a file and attach that.")


class QuestionEmpty(UserError):
    message = N_("The question is empty.")
    remedy = N_("Write what you want to ask.")


class NothingToSearch(UserError):
    """Neither a knowledge base nor a file."""

    message = N_("There is nothing to search yet: no knowledge base, and no file in this conversation.")
    remedy = N_("Attach files to your question, or create a knowledge base.")


class TooManyDocuments(UserError):
    """More are chosen than one question can search."""

    message = N_("{count} documents are chosen; one question can search {most} at most.")
    remedy = N_("Choose fewer documents, or whole knowledge bases.")


class ImageNotSeen(UserError):
    message = N_("{model} cannot see images, so the picture “{name}” was not shown to it.")
    remedy = N_(
        "Choose a model that takes images. If this one does, say so in its provider's settings on the Models page, or "
        "as LLM_SEES_IMAGES in .env. If text was recognised in the picture, it is searched."
    )


class ImageUnreadable(UserError):
    message = N_("The picture “{name}” cannot be shown to the model ({detail}).")
    remedy = N_("Save it as PNG or JPEG and attach it again.")


class InvalidPrompt(UserError):
    """A template without the passages, or with unknown placeholders."""

    message = N_("The prompt cannot be used ({detail}).")
    remedy = N_("Use the placeholders {{passages}} and {{language}}, and no others.")
    retry_helps = False


class AnswerRunning(UserError):
    """A conversation has one answer at a time."""

    message = N_("Another answer is still being written in this conversation.")
    remedy = N_("Wait for it to finish or stop it, then ask again.")


class AnswerFailed(KbError):
    """A bug in Zhiwen, while answering."""

    message = N_("An unexpected error occurred while answering ({detail}).")
    remedy = N_("Try again. If it fails again, report it together with the web process's log.")


class InternalError(KbError):
    """A bug in Zhiwen, while it serves a program: what it is, the log says, and nobody else."""

    remedy = N_("Try again. If it fails again, report it together with the web process's log.")


class CheckUnreadable(KbError):
    """The reply of the model that was asked to check an answer."""

    message = N_("“{model}” did not judge the sentences in a form that can be read.")
    remedy = N_("Check again, or choose another model first.")


class CheckInterrupted(KbError):
    """Its process died."""

    message = N_("The check was interrupted because the server stopped.")
    remedy = N_("Check again.")
