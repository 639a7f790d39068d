"""The root of the errors, its kinds, and how an error becomes a text."""

from __future__ import annotations

import re
from typing import ClassVar


def N_(text: str) -> str:  # noqa: N802 - gettext's convention
    """Mark `text` for translation; the page translates it when it shows it."""
    return text


class KbError(Exception):
    """Root of the tree.

    `transient`: the same call may succeed later, so workers try again. `retry_helps`: pages offer Retry.
    """

    message: str = N_("Something went wrong.")
    remedy: str = ""
    transient: ClassVar[bool] = False
    retry_helps: ClassVar[bool] = True
    code: ClassVar[str] = "kb_error"
    registry: ClassVar[dict[str, type[KbError]]] = {}

    def __init__(self, **values: object) -> None:
        self.values = {name: str(value) for name, value in values.items()}
        super().__init__(self.values)

    def __init_subclass__(cls) -> None:
        cls.code = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        KbError.registry[cls.code] = cls

    def __str__(self) -> str:
        return f"{fill(self.message, self.values)} {fill(self.remedy, self.values)}".strip()


class _Values(dict[str, str]):
    """Values for a template; a missing one becomes an ellipsis instead of raising."""

    def __missing__(self, key: str) -> str:
        return "…"


_STOPS = ".。!！?？"
_BRACKETS = ")）”」’\"'"
_FIELD_AND_STOP = re.compile(rf"(\{{(\w+)\}}[{_BRACKETS}]*)[.。]")


def fill(template: str, values: dict[str, str]) -> str:
    """Put `values` into a (translated) message template. A value that is a sentence brings its own stop."""
    known = _Values(values)

    def without_second_stop(found: re.Match[str]) -> str:
        return found[1] if known[found[2]].rstrip(_BRACKETS).endswith(tuple(_STOPS)) else found[0]

    return _FIELD_AND_STOP.sub(without_second_stop, template).format_map(known)


def from_code(code: str, values: dict[str, str]) -> KbError:
    """The stored error; an unknown code gives a plain `KbError`."""
    return KbError.registry.get(code, KbError)(**values)


class UserError(KbError):
    """The request itself is wrong; repeating it does not help."""

    message = N_("This is not possible.")
    retry_helps = False


class Unavailable(KbError):
    """A service is not responding; a retry may help."""

    message = N_("A service is not responding ({detail}).")
    remedy = N_("Check the System page.")
    transient = True


class SetupError(KbError):
    """The raising code passes both templates, marked with `N_`, and their `values`."""

    def __init__(self, problem: str = KbError.message, solution: str = "", **values: object) -> None:
        super().__init__(problem=problem, solution=solution, **values)
        self.message, self.remedy = problem, solution


class Cancelled(KbError):
    """By the user."""

    message = N_("Cancelled.")
