"""Web pages that are loaded by their address."""

from __future__ import annotations

from kb.errors.base import N_, KbError, UserError


class FetchError(KbError):
    """A web address cannot be loaded."""

    message = N_("The page {address} could not be loaded ({detail}).")
    remedy = N_("Open the address in a browser to check it, then try again.")


class AddressInvalid(FetchError):
    """Not http or https, or no address at all."""

    message = N_("“{address}” is not a web address.")
    remedy = N_("Enter an address that starts with http:// or https://.")
    retry_helps = False


class AddressHasPassword(FetchError):
    message = N_("The address {address} contains a user name or a password.")
    remedy = N_("Remove what stands before the @: Zhiwen does not sign in anywhere.")
    retry_helps = False


class PortBlocked(FetchError):
    """Other protocols than the web's use it."""

    message = N_("Port {port} of {host} does not serve web pages.")
    remedy = N_("Check the port in the address.")
    retry_helps = False


class HostNotPublic(FetchError):
    """It is in a private network, and not listed."""

    message = N_("{host} is not on the public internet, so Zhiwen does not connect to it.")
    remedy = N_("If you trust this host, add {entry} to ALLOWED_FETCH_HOSTS in .env and restart.")
    retry_helps = False


class HostNotFound(FetchError):
    message = N_("There is no host named {host}.")
    remedy = N_("Check the address, and the internet connection of the machine that runs Zhiwen.")
    transient = True


class HostUnreachable(FetchError):
    """No connection, or none that is safe."""

    message = N_("{host} cannot be reached ({detail}).")
    remedy = N_("Try again later, or check the internet connection of the machine that runs Zhiwen.")
    transient = True


class PageTooSlow(FetchError):
    message = N_("{host} took longer than {seconds} s to send the page.")
    remedy = N_("Try again later, or choose another page.")
    transient = True


class PageSilent(PageTooSlow):
    message = N_("{host} sent nothing for {seconds} s.")


class PageTooLarge(FetchError):
    message = N_("The page {address} is larger than {limit} MB.")
    remedy = N_("Choose another page, or save it as a file and upload that.")
    retry_helps = False


class PageWrongType(FetchError):
    message = N_("{address} is not a web page ({detail}).")
    remedy = N_("Choose another page, or download the file and upload it.")
    retry_helps = False


class PageBroken(FetchError):
    """It did not arrive whole, or reading it fails."""

    message = N_("The page {address} cannot be read ({detail}).")
    remedy = N_("Try again later, or choose another page.")
    transient = True


class RedirectLoop(FetchError):
    message = N_("{address} keeps redirecting ({count} times).")
    remedy = N_("Open it in a browser and use the address of the page where you arrive.")
    retry_helps = False


class PageRefused(FetchError):
    """The server answers with an HTTP error."""

    message = N_("{host} did not deliver the page {address} ({detail}).")
    remedy = N_("Open it in a browser. If it needs a login or checks for robots, save it as a file and upload that.")


class PageWithoutText(FetchError):
    message = N_("The page {address} contains no text that can be read.")
    remedy = N_("Scripts may show its text: open it in a browser, save it as PDF and upload that.")
    retry_helps = False


class TooManyAddresses(UserError):
    message = N_("The question names {count} web pages. At most {limit} are read together.")
    remedy = N_("Ask about some of them first.")
