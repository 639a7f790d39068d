"""What a version's chunks do not hold of its file, or hold in doubt: notes, each with its places."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

_T = TypeVar("_T")

MAX_PLACES = 100  # that one note names; `count` tells how many there are


class NoteKind(StrEnum):
    IMAGES_ONLY = "images_only"  # pages with images, and no text even there
    RECOGNISED = "recognised"  # pages whose text was read from their images
    GARBLED = "garbled"  # pages whose fonts do not tell which characters they show
    UNREADABLE = "unreadable"  # pages that cannot be opened
    DAMAGED_PARTS = "damaged_parts"  # of an archive: chapters of an e-book
    UNSTORED_FORMULAS = "unstored_formulas"  # sheets with formulas whose results the file does not hold
    UNREAD_ATTACHMENTS = "unread_attachments"  # of a mail: in no format that can be read, damaged, or too deep
    PARTLY_READ_ATTACHMENTS = "partly_read_attachments"  # that have notes of their own
    CUT_OUTPUTS = "cut_outputs"  # of a notebook
    SKIPPED = "skipped"  # pages that took too long, or crashed the parser


# The chunks lack something of a file with one of these notes; others tell only how it was read.
INCOMPLETE = frozenset(NoteKind) - {NoteKind.RECOGNISED}


@dataclass(frozen=True, slots=True)
class Note:
    """`count` things of one kind, on `pages`, or in parts with the names `names` (sheets, attachments).

    Kept as JSON with each version: a later release may know more kinds, and `kind` is then one of those.
    """

    kind: str = ""
    count: int = 1
    pages: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notes:
    """The notes of a version, as they are kept."""

    notes: tuple[Note, ...] = ()


def merge_notes(notes: Iterable[Note]) -> tuple[Note, ...]:
    """One note of each kind, in order of appearance, with the places of all."""
    merged: dict[str, Note] = {}
    for note in notes:
        known = merged.get(note.kind)
        if known is None:
            merged[note.kind] = note
            continue
        merged[note.kind] = replace(
            known,
            count=known.count + note.count,
            pages=_joined(known.pages, note.pages),
            names=_joined(known.names, note.names),
        )
    return tuple(merged.values())


def _joined(known: tuple[_T, ...], more: tuple[_T, ...]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(known + more))[:MAX_PLACES]
