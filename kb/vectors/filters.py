"""Milvus filter expressions. Values are parameters, never part of the text of an expression."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

Value = UUID | int | bool


@dataclass(frozen=True, slots=True)
class Filter:
    """An expression with a `{name}` for each value."""

    expression: str
    values: dict[str, Value] = field(default_factory=dict)

    def arguments(self, templates: bool) -> dict[str, Any]:
        """Keyword arguments for pymilvus.

        Servers before 2.5 and Milvus Lite do not support templates (`templates=False`). For them we write out the
        values, and accept only types that cannot contain a quote.
        """
        if templates:
            return {"filter": self.expression, "filter_params": {k: _plain(v) for k, v in self.values.items()}}
        return {"filter": self.expression.format(**{k: _literal(v) for k, v in self.values.items()})}


def _plain(value: Value) -> str | int | bool:
    return str(value) if isinstance(value, UUID) else value


def _literal(value: Value) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case UUID():
            return f'"{value}"'
        case int():
            return str(value)
    raise TypeError(f"a filter value is a UUID, an int or a bool, not {type(value).__name__}")


ENABLED = Filter("enabled == {enabled}", {"enabled": True})


def of_version(version_id: UUID) -> Filter:
    return Filter("version_id == {version}", {"version": version_id})


def of_document(document_id: UUID) -> Filter:
    return Filter("document_id == {document}", {"document": document_id})


def of_version_from(version_id: UUID, first: int) -> Filter:
    """The chunks of a version, starting at ordinal `first`."""
    return Filter("version_id == {version} and ordinal >= {first}", {"version": version_id, "first": first})
