"""Milvus filter expressions. Values are parameters, never part of the text of an expression."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

Value = UUID | int | bool | tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """An expression with a `{name}` for each value."""

    expression: str
    values: dict[str, Value] = field(default_factory=dict)

    def __and__(self, other: Filter) -> Filter:
        return Filter(f"{self.expression} and {other.expression}", self.values | other.values)

    def arguments(self, templates: bool) -> dict[str, Any]:
        """Keyword arguments for pymilvus.

        Servers before 2.5 and Milvus Lite do not support templates (`templates=False`). For them we write out the
        values, and accept only types that cannot contain a quote.
        """
        if templates:
            return {"filter": self.expression, "filter_params": {k: _plain(v) for k, v in self.values.items()}}
        return {"filter": self.expression.format(**{k: _literal(v) for k, v in self.values.items()})}


def _plain(value: Value) -> str | int | bool | list[str]:
    match value:
        case UUID():
            return str(value)
        case tuple():
            return [str(each) for each in value]
    return value


def _literal(value: Value) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case UUID():
            return f'"{value}"'
        case int():
            return str(value)
        case tuple():
            return f"[{', '.join(map(_literal, value))}]"
    raise TypeError(f"a filter value is a UUID, an int, a bool or a tuple of UUIDs, not {type(value).__name__}")


ENABLED = Filter("enabled == {enabled}", {"enabled": True})

# Milvus Lite takes about 25 ms to read a filter of so many; a larger choice is searched in parts.
FILTERED_DOCUMENTS = 1_000


@dataclass(frozen=True, slots=True)
class Within:
    """What a search is limited to, beside enabled chunks: a partition of a shared collection, and chosen documents.

    None stands for all of them.
    """

    document_ids: Collection[UUID] | None = None
    partition: UUID | None = None

    def filters(self) -> list[Filter]:
        """One filter, or several that pass different chunks."""
        chosen = ENABLED
        if self.partition:
            chosen &= of_partition(self.partition)
        if self.document_ids is None:
            return [chosen]
        ids = sorted(self.document_ids)
        parts = (ids[start : start + FILTERED_DOCUMENTS] for start in range(0, len(ids), FILTERED_DOCUMENTS))
        return [chosen & Filter("document_id in {documents}", {"documents": tuple(part)}) for part in parts]


EVERYTHING = Within()


def of_version(version_id: UUID) -> Filter:
    return Filter("version_id == {version}", {"version": version_id})


def of_partition(partition: UUID) -> Filter:
    """One knowledge base's part of a shared collection."""
    return Filter("knowledge_base_id == {partition}", {"partition": partition})


def of_document(document_id: UUID) -> Filter:
    return Filter("document_id == {document}", {"document": document_id})


def of_version_from(version_id: UUID, first: int) -> Filter:
    """The chunks of a version, starting at ordinal `first`."""
    return Filter("version_id == {version} and ordinal >= {first}", {"version": version_id, "first": first})
