"""Knowledge bases and their documents."""

from __future__ import annotations

from kb.errors.base import N_, KbError, UserError


class NameTaken(UserError):
    message = N_("A knowledge base named “{name}” already exists.")
    remedy = N_("Choose another name.")


class InvalidName(UserError):
    message = N_("A name must have 1 to {limit} characters.")
    remedy = N_("Choose another name.")


# Document states that appear as values in messages. The pages mark the others themselves.
STATES = (N_("queued"), N_("parsing"))


class WrongState(UserError):
    """The document is not in a state that allows this."""

    message = N_("This is not possible while “{name}” is {state}.")
    remedy = N_("Refresh the page to see its current state.")


class InvalidCursor(UserError):
    """Of a program that goes through a list."""

    message = N_("This cursor is not one of this list.")
    remedy = N_("Begin with the first page.")


class NoPages(UserError):
    """A program reads by pages what has none."""

    message = N_("“{name}” has no pages.")
    remedy = N_("Read it by chunks.")


class BeyondEnd(UserError):
    """A program reads on where a document has ended."""

    message = N_("“{name}” ends before that. It has {pages} pages and {chunks} chunks.")
    remedy = N_("Pages count from 1, chunks from 0.")


class InvalidPattern(UserError):
    """Of a program that looks for a text."""

    message = N_("The pattern is not valid: {detail}.")
    remedy = N_("Use RE2’s syntax, which has no lookaround and no backreferences, or plain text.")


class LeaseLost(KbError):
    """Another worker took over the document."""

    message = N_("Another worker has taken over this document.")
