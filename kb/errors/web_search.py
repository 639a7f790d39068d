"""Search engines."""

from __future__ import annotations

from kb.errors.base import N_, KbError


class WebSearchError(KbError):
    """The search engine refused or failed."""

    message = N_("{engine} returned an error ({detail}).")
    remedy = N_("Try again. If it keeps failing, choose another search engine.")


class WebSearchNotConfigured(WebSearchError):
    """Its key or address is not set."""

    message = N_("{engine} is not set up: {setting} is empty.")
    remedy = N_("Set {setting} in .env and restart, or choose another search engine.")
    retry_helps = False


class WebSearchUnreachable(WebSearchError):
    """No network, or the engine is down."""

    message = N_("{engine} cannot be reached at {host} ({detail}).")
    remedy = N_(
        "Check the internet connection of the machine that runs Zhiwen (HTTPS_PROXY if it needs a proxy), or choose "
        "another search engine."
    )
    transient = True


class SearxngUnreachable(WebSearchUnreachable):
    remedy = N_("Check SEARXNG_URL and that SearXNG is running, or choose another search engine.")


class WebSearchTimeout(WebSearchError):
    message = N_("{engine} did not answer within {seconds} s.")
    remedy = N_("Try again, choose another search engine, or raise WEB_SEARCH_TIMEOUT_SECONDS.")
    transient = True


class WebSearchBlocked(WebSearchError):
    """A rate limit or a captcha."""

    message = N_("{engine} is blocking or limiting requests ({detail}).")
    remedy = N_("Wait a few minutes and try again, or choose another search engine.")
    transient = True


class WebSearchKeyRefused(WebSearchError):
    message = N_("{engine} refused access ({detail}).")
    remedy = N_("Check {setting} in .env and restart, or choose another search engine.")
    retry_helps = False


class WebSearchQuotaSpent(WebSearchError):
    message = N_("The quota of your {engine} account is used up ({detail}).")
    remedy = N_("Upgrade or top up the account, or choose another search engine.")
    retry_helps = False


class WebSearchNotJson(WebSearchError):
    """A web page where JSON was due."""

    message = N_("{engine} returned a web page instead of search results ({detail}).")
    remedy = N_(
        "A proxy or a login page may be answering in its place: check the network, or choose another search engine."
    )


class SearxngJsonOff(WebSearchNotJson):
    """The owner of the SearXNG server has not allowed JSON."""

    message = N_("The SearXNG server {host} does not return JSON ({detail}).")
    remedy = N_(
        "Add json to search.formats in its settings.yml and restart it, or set SEARXNG_URL to a server that allows it."
    )
    retry_helps = False


class WebSearchUnreadable(WebSearchError):
    message = N_("The answer of {engine} cannot be read ({detail}).")


class NoWebResults(WebSearchError):
    """It answered, and found nothing."""

    message = N_("{engine} found nothing for this question.")
    remedy = N_("Use fewer or other words, or choose another search engine.")
