"""`zhiwen user`: accounts, as the page “Users” keeps them. Passwords are typed or piped, never given as arguments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from getpass import getpass

from kb.accounts import SHORTEST_PASSWORD
from kb.cli.connecting import OpenQueue, acting_administrator, connected, find_account, web_address
from kb.cli.printing import CommandFailed, print_json, print_table
from kb.models import Account, UserRole
from kb.services import Services


def run(asked: argparse.Namespace, open_queue: OpenQueue) -> int:
    with connected(open_queue, must_run=False) as to:
        _ACTIONS[asked.action](asked, to.services)
    return 0


def _list(asked: argparse.Namespace, services: Services) -> None:
    accounts: Sequence[Account] = ()
    if not services.accounts.registration.needs_first():
        accounts = services.accounts.administration.accounts(acting_administrator(services))
    if asked.json:
        print_json([_to_json(account) for account in accounts])
    elif accounts:
        rows = [(each.name, each.role, _state(each), _day(each.signed_in_at) or "never") for each in accounts]
        print_table(("NAME", "ROLE", "STATE", "SIGNED IN"), rows)
    else:
        print("There are no accounts yet. zhiwen user add NAME makes the first one, an administrator.")


def _add(asked: argparse.Namespace, services: Services) -> None:
    registration = services.accounts.registration
    is_first = registration.needs_first()
    password = _read_password(asked.name)
    if is_first:
        registration.add_first(asked.name, password)
    else:
        registration.add(acting_administrator(services), asked.name, password, UserRole(asked.role))
    _print_account(asked, find_account(services, asked.name))


def _invite(asked: argparse.Namespace, services: Services) -> None:
    registration = services.accounts.registration
    token = registration.invite(acting_administrator(services), UserRole(asked.role))
    _print_link(asked, services, token, "It makes one account, within seven days.")


def _reset_password(asked: argparse.Namespace, services: Services) -> None:
    registration, account = services.accounts.registration, find_account(services, asked.name)
    administrator = acting_administrator(services)
    if asked.ask:
        registration.set_password(administrator, account.id, _read_password(account.name))
        _print_account(asked, account)
    else:
        token = registration.offer_new_password(administrator, account.id)
        _print_link(asked, services, token, f"It sets a new password for {account.name} once, within a day.")


def _set_role(asked: argparse.Namespace, services: Services) -> None:
    account = find_account(services, asked.name)
    administration = services.accounts.administration
    administration.set_role(acting_administrator(services), account.id, UserRole(asked.role))
    _print_account(asked, find_account(services, str(account.id)))


def _approve(asked: argparse.Namespace, services: Services) -> None:
    _change(asked, services, services.accounts.administration.approve)


def _suspend(asked: argparse.Namespace, services: Services) -> None:
    _change(asked, services, services.accounts.administration.suspend)


def _restore(asked: argparse.Namespace, services: Services) -> None:
    _change(asked, services, services.accounts.administration.resume)


_ACTIONS: dict[str, Callable[[argparse.Namespace, Services], None]] = {
    "list": _list,
    "add": _add,
    "invite": _invite,
    "role": _set_role,
    "approve": _approve,
    "suspend": _suspend,
    "restore": _restore,
    "reset-password": _reset_password,
}


def _change(asked: argparse.Namespace, services: Services, change: Callable[..., None]) -> None:
    account = find_account(services, asked.name)
    change(acting_administrator(services), account.id)
    _print_account(asked, find_account(services, str(account.id)))


def _read_password(name: str) -> str:
    """Typed twice without being shown; one line where standard input is no terminal."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    try:
        password = getpass(f"Password for {name} ({SHORTEST_PASSWORD} characters or more): ")
        again = getpass("Again: ")
    except EOFError as error:
        raise CommandFailed("No password was typed. Nothing was changed.") from error
    if again != password:
        raise CommandFailed("The two passwords differ. Nothing was changed.")
    return password


# --- what is printed -------------------------------------------------------------------------------------------


def _print_link(asked: argparse.Namespace, services: Services, token: str, use: str) -> None:
    link = f"{web_address(services.settings)}/signup?invitation={token}"
    if asked.json:
        print_json({"link": link})
    else:
        print(f"{link}\n{use}")


def _print_account(asked: argparse.Namespace, account: Account) -> None:
    if asked.json:
        print_json(_to_json(account))
    else:
        print(f"{account.name}: {account.role}, {_state(account)}")


def _to_json(account: Account) -> dict[str, object]:
    return {
        "id": account.id,
        "name": account.name,
        "role": account.role,
        "state": _state(account),
        "created_at": account.created_at,
        "signed_in_at": account.signed_in_at,
    }


def _state(account: Account) -> str:
    if account.awaits_approval:
        return "awaiting approval"
    return "suspended" if account.suspended_at else "active"


def _day(moment: datetime | None) -> str:
    return f"{moment.astimezone():%Y-%m-%d}" if moment else ""
