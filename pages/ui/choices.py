"""Choices that the page makes as well as the user: a mode, a knowledge base, a model.

With every click the browser sends the values of all widgets. One that has not heard yet that the page chose another
value sends the former one, and Streamlit takes it for a choice of the user. So each value that the page chooses gets
another widget, with another number in its key. A former value arrives under a former key, and is known as such.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, TypeVar

import streamlit as st

from pages.ui.state import state

Value = TypeVar("Value")

# Afterwards the numbers begin again: Streamlit keeps a little of each widget until its session ends.
NUMBERS = 16


def choice(name: str, value: Value, options: Container[Value], choose: Callable[[Value], None]) -> dict[str, Any]:
    """The arguments for a widget that shows `value`: its key, and a callback that calls `choose`.

    The widget is to be drawn at once. It is another one than before only if that showed another value.
    """
    values = state().shown_choices.setdefault(name, {0: value})
    number, before = next(reversed(values.items()))
    is_other = st.session_state.get(_key(name, number), before) != value
    if is_other:
        number = (number + 1) % NUMBERS
        values.pop(number, None)  # to be the last one
    values[number] = value
    key = _key(name, number)
    if is_other or key not in st.session_state:  # setting it again would close a list that is open
        st.session_state[key] = value
    return {"key": key, "on_change": _take, "args": (name, number, options, choose)}


def _take(name: str, number: int, options: Container[Value], choose: Callable[[Value], None]) -> None:
    values, chosen = state().shown_choices[name], st.session_state[_key(name, number)]
    if chosen == values[number]:  # a former widget's, which the user left as it was
        return
    values[number] = chosen
    # The browser names a choice by its label. One that has changed since (another language or name) arrives as text,
    # and nobody has chosen it.
    if chosen in options:
        choose(chosen)


def _key(name: str, number: int) -> str:
    return f"{name}--{number}"
