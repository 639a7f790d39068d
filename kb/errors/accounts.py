"""Accounts: signing in, passwords, invitations, and what only administrators may do."""

from __future__ import annotations

from kb.errors.base import N_, UserError


class SignInFailed(UserError):
    """One text whatever was wrong, so that nobody learns which names exist."""

    message = N_("That did not work.")
    remedy = N_("Check the name and the password. If both are right, ask an administrator about your account.")


class PasswordWrong(SignInFailed):
    """Of who has signed in, and changes it."""

    message = N_("The current password is wrong.")
    remedy = N_("Type it again. If you have forgotten it, ask an administrator for a link.")


class TooManyAttempts(UserError):
    message = N_("Too many attempts.")
    remedy = N_("Try again in {minutes} min.")


class SignedOut(UserError):
    """No session, or one that has ended."""

    message = N_("You are signed out.")
    remedy = N_("Sign in to go on. What you typed and attached is kept in this browser.")


class PasswordTooShort(UserError):
    message = N_("The password is too short.")
    remedy = N_("Use at least {limit} characters. Several words are easy to remember.")


class PasswordTooLong(UserError):
    message = N_("The password is too long.")
    remedy = N_("Use at most {limit} characters.")


class PasswordsDiffer(UserError):
    message = N_("The two passwords are not the same.")
    remedy = N_("Type them again.")


class AccountNameTaken(UserError):
    message = N_("Somebody has the name “{name}” already.")
    remedy = N_("Choose another name.")


class RegistrationClosed(UserError):
    """Also for a token or a link that is wrong, used or expired."""

    message = N_("This link or token is not valid, or no longer valid.")
    remedy = N_("Ask an administrator for a new one.")


class InvitationsClosed(UserError):
    message = N_("Registration is closed.")
    remedy = N_("To invite people, set REGISTRATION=invitation in .env and restart.")


class WrongFirstToken(RegistrationClosed):
    message = N_("This token is not valid.")
    remedy = N_("Copy it from Zhiwen's log, or from the file first-account-token in ZHIWEN_HOME.")


class GroupNameTaken(UserError):
    message = N_("A group named “{name}” already exists.")
    remedy = N_("Choose another name.")


class AdministratorsOnly(UserError):
    message = N_("Only administrators can do this.")
    remedy = N_("Ask one of them.")


class LastAdministrator(UserError):
    message = N_("“{name}” is the only active administrator.")
    remedy = N_("Make somebody else an administrator first.")
