"""Who may do what: users, how they sign in, and what they share."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import JSON, Boolean, Column, ForeignKey, Index, String, Table, Uuid, false

from kb.database.tables.schema import UtcDateTime, metadata, now

users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True, default=uuid4),
    Column("name", String(100), nullable=False, unique=True),
    # True for one row, the user of an installation without a login, and null for all others. See `kb.users`.
    Column("is_local", Boolean, index=True, unique=True),
    # An account has one, by which its user signs in: `kb.names.fold` of the name. See `kb.accounts`.
    Column("folded_name", String(500), index=True, unique=True),
    Column("password_hash", String(300), nullable=False, default="", server_default=""),
    Column("role", String(20), nullable=False, default="member", server_default="member"),  # kb.models.UserRole
    Column("awaits_approval", Boolean, nullable=False, default=False, server_default=false()),
    Column("suspended_at", UtcDateTime),
    Column("signed_in_at", UtcDateTime),
    Column("last_choices", JSON, nullable=False, default=dict, server_default="{}"),  # kb.models.Choices
    Column("created_at", UtcDateTime, nullable=False, default=now),
)

# Who is signed in, in which browser. The cookie holds the token, of which only the digest is kept here.
login_sessions = Table(
    "login_sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

# Links for one use: to an account of one's own or, with `user_id`, to a new password.
invitations = Table(
    "invitations",
    metadata,
    Column("id", Uuid, primary_key=True, default=uuid4),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("role", String(20), nullable=False),  # that the account gets
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE")),
    Column("created_by", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
)

# Users as OpenID providers know them: see `kb.accounts.identities`.
identities = Table(
    "identities",
    metadata,
    Column("issuer", String(500), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
)

groups = Table(
    "groups",
    metadata,
    Column("id", Uuid, primary_key=True, default=uuid4),
    Column("name", String(400), nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False, default=now),
)

group_members = Table(
    "group_members",
    metadata,
    Column("group_id", ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Index("ix_group_members_of_user", "user_id", "group_id"),
)

# What others than its owner may do with a knowledge base: see kb.access.
grants = Table(
    "grants",
    metadata,
    Column("knowledge_base_id", ForeignKey("knowledge_bases.id", ondelete="CASCADE"), primary_key=True),
    Column("grantee_kind", String(20), primary_key=True),  # kb.access.GranteeKind
    Column("grantee_id", Uuid, primary_key=True),  # of a user or a group; of everybody: kb.access.policy.EVERYBODY
    Column("permission", String(20), nullable=False),  # kb.access.Permission
    Column("created_at", UtcDateTime, nullable=False, default=now),
    Index("ix_grants_of_grantee", "grantee_kind", "grantee_id", "knowledge_base_id"),
)

# With which programs act for a user: see kb.access.keys.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True, default=uuid4),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String(400), nullable=False),
    Column("hint", String(20), nullable=False),  # how it begins, by which people know it again
    Column("digest", String(64), nullable=False, unique=True),  # SHA-256 of the key, which is random
    Column("scopes", JSON, nullable=False),  # kb.access.KeyScope
    Column("is_limited", Boolean, nullable=False),  # to the knowledge bases of api_key_bases
    Column("created_at", UtcDateTime, nullable=False, default=now),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("used_at", UtcDateTime),
)

api_key_bases = Table(
    "api_key_bases",
    metadata,
    Column("key_id", ForeignKey("api_keys.id", ondelete="CASCADE"), primary_key=True),
    Column("knowledge_base_id", ForeignKey("knowledge_bases.id", ondelete="CASCADE"), primary_key=True),
)
