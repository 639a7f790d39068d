"""Signing in with an OpenID provider. No text tells what a provider, or whoever pretends to be one, has sent."""

from __future__ import annotations

from kb.errors.base import N_, Unavailable, UserError

AGAIN = N_("Start again from the sign-in page. If it happens again, tell an administrator.")


class ProviderUnavailable(Unavailable):
    """It does not respond, or not with what it should."""

    message = N_("{name} is not responding as it should.")
    remedy = N_("Try again later, or sign in with a password if you have one.")


class WrongIssuer(UserError):
    message = N_("Somebody else than {name} has answered.")
    remedy = N_("Tell an administrator: the provider’s address in the settings may be wrong.")


class WrongAudience(UserError):
    message = N_("The answer of {name} is meant for another program.")
    remedy = N_("Tell an administrator: the client in the settings may be wrong.")


class IdTokenRefused(UserError):
    """Its signature, its times or its nonce are wrong."""

    message = N_("The answer of {name} is not valid.")
    remedy = AGAIN


class SignInCodeExpired(UserError):
    message = N_("The answer of {name} has expired, or was used already.")
    remedy = AGAIN


class SignInOver(UserError):
    """Of the state: not begun in this browser, used, or too old."""

    message = N_("This sign-in has expired, was completed already, or was begun in another browser.")
    remedy = AGAIN


class SignInDeclined(UserError):
    message = N_("{name} did not sign you in.")
    remedy = N_("Try again, and agree to what it asks for, or sign in with a password if you have one.")


class NotConnected(UserError):
    """Nobody here has this identity, and it may not make an account."""

    message = N_("No account here is connected with yours at {name}.")
    remedy = N_(
        "If you have an account here, sign in with your password and connect them on the page “Your account”. "
        "If you have none, ask an administrator for an invitation."
    )


class AccountSuspended(UserError):
    message = N_("Your account is suspended.")
    remedy = N_("Ask an administrator.")


class AwaitsApproval(UserError):
    message = N_("Your account waits for the approval of an administrator.")
    remedy = N_("After that you can sign in.")


class IdentityTaken(UserError):
    message = N_("Your account at {name} is connected with another account here.")
    remedy = N_("Sign in to that one, and disconnect it there first.")


class LastWayIn(UserError):
    message = N_("Without {name} you could not sign in any more.")
    remedy = N_("Ask an administrator for a link to a password first.")
