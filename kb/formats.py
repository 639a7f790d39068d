"""JSON that is kept (in SQL, Redis or files) and read by other releases than the one that wrote it.

What is written carries the number of its format. What is read may be older or newer: fields that are unknown here are
ignored, and missing ones take the defaults of their dataclass. So a new field needs a default, and a field that
changes its meaning needs a new name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from kb.models import Retrieval

FORMAT = "format"
NUMBER = 1

T = TypeVar("T")

_adapters: dict[type[Any], TypeAdapter[Any]] = {}


class Unreadable(ValueError):
    """Kept JSON that lacks what nothing can stand in for, or holds values of other types."""


def to_json(value: Any) -> dict[str, Any]:
    """A dataclass as JSON's types, with the number of the format. What is None is left out, as a missing field is None.

    So a field that may be None from one release on stays readable for the releases before.
    """
    return {FORMAT: NUMBER, **_adapter(type(value)).dump_python(value, mode="json", exclude_none=True)}


def from_json(kind: type[T], kept: Mapping[str, Any]) -> T:
    """The dataclass `kind` from what some release's `to_json` wrote. Errors: `Unreadable`."""
    try:
        read: T = _adapter(kind).validate_python(kept)
    except ValidationError as error:
        raise Unreadable(f"{kind.__name__}: {error.error_count()} fields cannot be read") from error
    return read


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def to_record(retrieval: Retrieval) -> dict[str, Any]:
    """Without the chunks' search terms, which are bulky and can be computed again."""
    passages, nearest = (
        tuple(replace(passage, chunk=replace(passage.chunk, terms="")) for passage in some)
        for some in (retrieval.passages, retrieval.nearest)
    )
    return to_json(replace(retrieval, passages=passages, nearest=nearest))


def from_record(record: Mapping[str, Any]) -> Retrieval:
    """Errors: `kb.formats.Unreadable`."""
    return from_json(Retrieval, record)
