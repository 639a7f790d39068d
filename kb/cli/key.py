"""`zhiwen key`: the API keys of all users, as each of them keeps their own on the page “API”."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from kb.access import KeyScope, Principal
from kb.access.keys import ApiKey
from kb.cli.connecting import Connected, OpenQueue, acting_administrator, connected, find_account, find_knowledge_base
from kb.cli.printing import CommandFailed, print_json, print_table


@dataclass(frozen=True, slots=True)
class Held:
    """A key with its user, and the names of the knowledge bases that the user sees."""

    key: ApiKey
    user_name: str
    user: Principal
    base_names: Mapping[UUID, str]

    @property
    def scopes(self) -> list[KeyScope]:
        return [scope for scope in KeyScope if scope in self.key.scopes]

    @property
    def bases(self) -> list[str] | None:
        """By name; by id what the user does not see any more. None: all."""
        ids = self.key.knowledge_base_ids
        return None if ids is None else [self.base_names.get(each, str(each)) for each in ids]


def run(asked: argparse.Namespace, open_queue: OpenQueue) -> int:
    with connected(open_queue, must_run=False) as to:
        _ACTIONS[asked.action](asked, to)
    return 0


def _list(asked: argparse.Namespace, to: Connected) -> None:
    held = _held_keys(to, asked.user)
    if asked.json:
        print_json([_to_json(each) for each in held])
    elif held:
        print_table(("KEY", "NAME", "USER", "SCOPES", "KNOWLEDGE BASES", "EXPIRES", "USED"), map(_row, held))
    else:
        print("There are no API keys.")


def _create(asked: argparse.Namespace, to: Connected) -> None:
    user_name, user = _users(to, asked.user)[0]
    acting = replace(to, principal=user)
    bases = [find_knowledge_base(acting, name) for name in asked.knowledge_base or ()]
    scopes = {KeyScope(scope) for scope in asked.scope or [KeyScope.READ]}
    lifetime = timedelta(days=asked.days) if asked.days else None
    ids = [base.id for base in bases] or None
    key, secret = to.services.api_keys.create(user, asked.name, scopes, ids, lifetime)
    made = Held(key, user_name, user, {base.id: base.name for base in bases})
    if asked.json:
        print_json(_to_json(made) | {"secret": secret.get_secret_value()})
    else:
        print(f"{secret.get_secret_value()}\nIt acts for {user_name}. Keep it safe: it cannot be shown again.")


def _revoke(asked: argparse.Namespace, to: Connected) -> None:
    wanted = [each for each in _held_keys(to) if asked.key in (str(each.key.id), each.key.hint)]
    if not wanted:
        raise CommandFailed(f"There is no API key “{asked.key}”. See zhiwen key list.")
    if len(wanted) > 1:
        raise CommandFailed(
            f"{len(wanted)} API keys begin with “{asked.key}”. Name one by its id: zhiwen key list --json."
        )
    (held,) = wanted
    to.services.api_keys.revoke(held.user, held.key.id)
    if asked.json:
        print_json(_to_json(held))
    else:
        print(f"Revoked “{held.key.name}” of {held.user_name}.")


_ACTIONS: dict[str, Callable[[argparse.Namespace, Connected], None]] = {
    "list": _list,
    "create": _create,
    "revoke": _revoke,
}


def _held_keys(to: Connected, user: str | None = None) -> Sequence[Held]:
    """Those of all users, or of one."""
    held: list[Held] = []
    for name, principal in _users(to, user):
        if keys := to.services.api_keys.list(principal):
            names = {base.id: base.name for base in to.services.knowledge_bases.list(principal)}
            held += [Held(key, name, principal, names) for key in keys]
    return held


def _users(to: Connected, name: str | None) -> Sequence[tuple[str, Principal]]:
    """The one of this name, else all with the one for whom commands act first; each with the name."""
    services = to.services
    if name is not None:
        account = find_account(services, name)
        return [(account.name, account.principal)]
    acting = services.users.get(to.principal)
    others: Sequence[tuple[str, Principal]] = ()
    if not services.accounts.registration.needs_first():
        accounts = services.accounts.administration.accounts(acting_administrator(services))
        others = [(each.name, each.principal) for each in accounts if each.id != acting.id]
    return [(acting.name, to.principal), *others]


# --- what is printed -------------------------------------------------------------------------------------------


def _row(held: Held) -> tuple[str, ...]:
    key = held.key
    expires = "never" if key.expires_at is None else f"{key.expires_at.astimezone():%Y-%m-%d}"
    if key.expires_at and key.expires_at <= datetime.now(UTC):
        expires = "expired"
    used = f"{key.used_at.astimezone():%Y-%m-%d}" if key.used_at else "never"
    bases = "all" if held.bases is None else ", ".join(held.bases)
    return key.hint, key.name, held.user_name, " ".join(held.scopes), bases, expires, used


def _to_json(held: Held) -> dict[str, object]:
    key = held.key
    return {
        "id": key.id,
        "name": key.name,
        "hint": key.hint,
        "user": held.user_name,
        "scopes": held.scopes,
        "knowledge_bases": held.bases,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "used_at": key.used_at,
    }
