"""What the audit log's page calls each action, and the kinds of them."""

from __future__ import annotations

from kb.audit import COMMAND_LINE, Action, Kind
from kb.audit.log import Event
from kb.errors import N_
from kb.extracts import escape_markdown as escape
from pages.ui.api_key_form import scope_names
from pages.ui.i18n import _, join_list

# `{target}` is the thing's name; the other fields are details of the event. A test looks for each action.
TEXTS = {
    Action.SIGNED_IN: N_("Signed in"),
    Action.SIGN_IN_FAILED: N_("Could not sign in"),
    Action.SIGNED_OUT: N_("Signed out"),
    Action.SIGNED_OUT_EVERYWHERE: N_("Signed out everywhere"),
    Action.ACCOUNT_CREATED: N_("Created the account “{target}”"),
    Action.ACCOUNT_REQUESTED: N_("Asked for the account “{target}”"),
    Action.ACCOUNT_APPROVED: N_("Approved the account “{target}”"),
    Action.ACCOUNT_REJECTED: N_("Rejected the account “{target}”"),
    Action.ACCOUNT_SUSPENDED: N_("Suspended the account “{target}”"),
    Action.ACCOUNT_RESUMED: N_("Let “{target}” sign in again"),
    Action.ROLE_CHANGED: N_("Changed the role of “{target}” to {role}"),
    Action.INVITATION_MADE: N_("Made an invitation ({role})"),
    Action.INVITATION_WITHDRAWN: N_("Withdrew an invitation or a link to a new password"),
    Action.PASSWORD_LINK_MADE: N_("Made a link to a new password for “{target}”"),
    Action.PASSWORD_SET: N_("Set a new password with a link"),
    Action.PASSWORD_REPLACED: N_("Replaced the password of “{target}”"),
    Action.PASSWORD_CHANGED: N_("Changed the password"),
    Action.IDENTITY_CONNECTED: N_("Connected the account with {provider}"),
    Action.IDENTITY_DISCONNECTED: N_("Disconnected the account from {provider}"),
    Action.GROUP_CREATED: N_("Created the group “{target}”"),
    Action.GROUP_RENAMED: N_("Renamed the group “{before}” to “{target}”"),
    Action.GROUP_DELETED: N_("Deleted the group “{target}”"),
    Action.MEMBER_ADDED: N_("Added “{member}” to the group “{target}”"),
    Action.MEMBER_REMOVED: N_("Removed “{member}” from the group “{target}”"),
    Action.SHARED: N_("Shared the knowledge base “{target}” with {to} ({permission})"),
    Action.UNSHARED: N_("Stopped sharing the knowledge base “{target}” with {to}"),
    Action.LINK_MADE: N_("Shared a conversation by a link"),
    Action.LINK_WITHDRAWN: N_("Withdrew the link to a conversation"),
    Action.KEY_CREATED: N_("Created the API key “{target}” ({scopes})"),
    Action.KEY_REVOKED: N_("Revoked the API key “{target}”"),
    Action.KNOWLEDGE_BASE_DELETED: N_("Deleted the knowledge base “{target}”"),
    Action.DOCUMENT_DELETED: N_("Deleted the document “{target}” from “{knowledge_base}”"),
    Action.ATTACHMENT_DELETED: N_("Deleted a file of a conversation"),
    Action.CONVERSATION_DELETED: N_("Deleted a conversation"),
    Action.CONVERSATION_RESTORED: N_("Restored a deleted conversation"),
    Action.DOCUMENT_DOWNLOADED: N_("Downloaded the document “{target}” from “{knowledge_base}”"),
    Action.ATTACHMENT_DOWNLOADED: N_("Downloaded a file of a conversation"),
    Action.CONVERSATION_EXPORTED: N_("Downloaded a conversation"),
    Action.CONVERSATIONS_EXPORTED: N_("Downloaded conversations ({count})"),
    Action.AUDIT_EXPORTED: N_("Downloaded the audit log ({count} events)"),
    Action.PROVIDER_ADDED: N_("Added the provider “{target}” ({server})"),
    Action.PROVIDER_CHANGED: N_("Changed the provider “{target}” ({server})"),
    Action.PROVIDER_DELETED: N_("Deleted the provider “{target}”"),
    Action.KNOWLEDGE_BASE_RENAMED: N_("Renamed the knowledge base “{before}” to “{target}”"),
    Action.PROMPT_CHANGED: N_("Changed the prompt of the knowledge base “{target}”"),
    Action.WEBHOOK_ADDED: N_("Added the webhook “{target}”"),
    Action.WEBHOOK_CHANGED: N_("Changed the webhook “{target}”"),
    Action.WEBHOOK_ENABLED: N_("Switched on the webhook “{target}”"),
    Action.WEBHOOK_DISABLED: N_("Switched off the webhook “{target}”"),
    Action.WEBHOOK_DELETED: N_("Deleted the webhook “{target}”"),
}


def kind_names() -> dict[Kind, str]:
    return {
        Kind.SIGN_IN: _("Signing in and out"),
        Kind.ACCOUNT: _("Accounts"),
        Kind.GROUP: _("Groups"),
        Kind.SHARING: _("Sharing"),
        Kind.KEY: _("API keys"),
        Kind.DELETION: _("Deletions"),
        Kind.EXPORT: _("Downloads"),
        Kind.SETTING: _("Settings"),
    }


def event_text(event: Event) -> str:
    """What was done, as Markdown. The action of a later release is shown by its stored name."""
    known = next((action for action in TEXTS if action == event.action), None)
    if known is None:
        return f"`{event.action}`"
    return _(TEXTS[known]).format_map(_Fields(_fields(event)))


def event_address(event: Event) -> str:
    if event.address == COMMAND_LINE:
        return _("at the command line")
    return _("from {address}").format(address=event.address) if event.address else ""


def _fields(event: Event) -> dict[str, str]:
    """The names of people and things as they are; our own words in the page's language."""
    words = {
        "role": {"member": _("Member"), "administrator": _("Administrator")},
        "permission": {"view": _("May ask and read"), "edit": _("May edit too")},
    }
    details = {name: words.get(name, {}).get(str(value), str(value)) for name, value in event.details.items()}
    if details.get("grantee") == "everybody":
        details["to"] = _("everybody")
    scopes = scope_names()
    if "scopes" in details:
        details["scopes"] = join_list(text for scope, text in scopes.items() if scope in details["scopes"].split(", "))
    return {name: escape(value) for name, value in {**details, "target": event.target_name}.items()}


class _Fields(dict[str, str]):
    """A detail that another release did not record becomes an ellipsis."""

    def __missing__(self, key: str) -> str:
        return "…"
