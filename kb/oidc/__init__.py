"""Signing in with an account elsewhere, by OpenID Connect: `settings` names the providers, `client` talks to one.

Which account here that is, `kb.accounts.identities` decides.
"""
