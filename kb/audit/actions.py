"""What is recorded. Each action has a text on the page of the audit log (`pages.ui.audit_texts`)."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What an administrator filters by."""

    SIGN_IN = "sign_in"
    ACCOUNT = "account"
    GROUP = "group"
    SHARING = "sharing"
    KEY = "key"
    DELETION = "deletion"
    EXPORT = "export"
    SETTING = "setting"


class Action(StrEnum):
    """Stored: a name is never changed or used again. What is before the point is the `Kind`."""

    SIGNED_IN = "sign_in.succeeded"
    SIGN_IN_FAILED = "sign_in.failed"
    SIGNED_OUT = "sign_in.ended"
    SIGNED_OUT_EVERYWHERE = "sign_in.ended_everywhere"

    ACCOUNT_CREATED = "account.created"
    ACCOUNT_REQUESTED = "account.requested"
    ACCOUNT_APPROVED = "account.approved"
    ACCOUNT_REJECTED = "account.rejected"
    ACCOUNT_SUSPENDED = "account.suspended"
    ACCOUNT_RESUMED = "account.resumed"
    ROLE_CHANGED = "account.role_changed"  # details: role
    INVITATION_MADE = "account.invitation_made"  # details: role
    INVITATION_WITHDRAWN = "account.invitation_withdrawn"
    PASSWORD_LINK_MADE = "account.password_link_made"
    PASSWORD_SET = "account.password_set"  # by such a link
    PASSWORD_REPLACED = "account.password_replaced"  # by an administrator
    PASSWORD_CHANGED = "account.password_changed"

    IDENTITY_CONNECTED = "account.identity_connected"  # details: provider
    IDENTITY_DISCONNECTED = "account.identity_disconnected"  # details: provider

    GROUP_CREATED = "group.created"
    GROUP_RENAMED = "group.renamed"  # details: before
    GROUP_DELETED = "group.deleted"
    MEMBER_ADDED = "group.member_added"  # details: member
    MEMBER_REMOVED = "group.member_removed"  # details: member

    SHARED = "sharing.granted"  # details: to, grantee, permission
    UNSHARED = "sharing.withdrawn"  # details: to, grantee
    LINK_MADE = "sharing.link_made"
    LINK_WITHDRAWN = "sharing.link_withdrawn"

    KEY_CREATED = "key.created"  # details: scopes
    KEY_REVOKED = "key.revoked"

    KNOWLEDGE_BASE_DELETED = "deletion.knowledge_base"
    DOCUMENT_DELETED = "deletion.document"  # details: knowledge_base
    ATTACHMENT_DELETED = "deletion.attachment"
    CONVERSATION_DELETED = "deletion.conversation"
    CONVERSATION_RESTORED = "deletion.conversation_undone"

    DOCUMENT_DOWNLOADED = "export.document"  # details: knowledge_base
    ATTACHMENT_DOWNLOADED = "export.attachment"
    CONVERSATION_EXPORTED = "export.conversation"
    CONVERSATIONS_EXPORTED = "export.conversations"  # details: count
    AUDIT_EXPORTED = "export.audit"  # details: count

    PROVIDER_ADDED = "setting.provider_added"  # details: server
    PROVIDER_CHANGED = "setting.provider_changed"  # details: server
    PROVIDER_DELETED = "setting.provider_deleted"
    KNOWLEDGE_BASE_RENAMED = "setting.knowledge_base_renamed"  # details: before
    PROMPT_CHANGED = "setting.prompt_changed"
    WEBHOOK_ADDED = "setting.webhook_added"
    WEBHOOK_CHANGED = "setting.webhook_changed"
    WEBHOOK_ENABLED = "setting.webhook_enabled"
    WEBHOOK_DISABLED = "setting.webhook_disabled"
    WEBHOOK_DELETED = "setting.webhook_deleted"

    @property
    def kind(self) -> Kind:
        return Kind(self.partition(".")[0])
