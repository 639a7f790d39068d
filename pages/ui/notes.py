"""The notes of a version in words: what its chunks lack of the file, and where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kb.notes import Note, NoteKind
from pages.ui.i18n import _, join_list, join_sentences, ngettext, number


def note_text(note: Note) -> str:
    """One sentence, and how many more places there are than it names."""
    pages = join_list(_stretches(note.pages))
    match note.kind:
        case NoteKind.IMAGES_ONLY:
            text = ngettext(
                "Page {pages} holds only images, and no text was read there.",
                "Pages {pages} hold only images, and no text was read there.",
                len(note.pages),
                pages=pages,
            )
        case NoteKind.GARBLED:
            text = ngettext(
                "The text of page {pages} is garbled and was left out: "
                "its fonts do not tell which characters they show.",
                "The text of pages {pages} is garbled and was left out: "
                "their fonts do not tell which characters they show.",
                len(note.pages),
                pages=pages,
            )
        case NoteKind.RECOGNISED:
            text = ngettext(
                "The text of page {pages} was recognised in its image (OCR). Check key figures in the original.",
                "The text of pages {pages} was recognised in their images (OCR). Check key figures in the original.",
                len(note.pages),
                pages=pages,
            )
        case NoteKind.UNREADABLE:
            text = ngettext(
                "Page {pages} is damaged and was left out.",
                "Pages {pages} are damaged and were left out.",
                len(note.pages),
                pages=pages,
            )
        case NoteKind.DAMAGED_PARTS:
            return ngettext(
                "{count} part is damaged and was left out: {names}",
                "{count} parts are damaged and were left out: {names}",
                note.count,
                names=join_list(note.names),
            )
        case NoteKind.UNSTORED_FORMULAS:
            return ngettext(
                "{count} formula in {names} has no stored result. Save the file in Excel and upload it again.",
                "{count} formulas in {names} have no stored result. Save the file in Excel and upload it again.",
                note.count,
                names=join_list(_("“{name}”").format(name=name) for name in note.names),
            )
        case NoteKind.UNREAD_ATTACHMENTS:
            return ngettext(
                "{count} attached file was not read: {names}",
                "{count} attached files were not read: {names}",
                note.count,
                names=join_list(note.names),
            )
        case NoteKind.PARTLY_READ_ATTACHMENTS:
            return ngettext(
                "An attached file was read only in part: {names}",
                "Some attached files were read only in part: {names}",
                len(note.names),
                names=join_list(note.names),
            )
        case NoteKind.CUT_OUTPUTS:
            return ngettext("{count} long output was cut.", "{count} long outputs were cut.", note.count)
        case NoteKind.SKIPPED:
            text = ngettext(
                "Page {pages} could not be read within the limits and was left out.",
                "Pages {pages} could not be read within the limits and were left out.",
                len(note.pages),
                pages=pages,
            )
        case _:  # a later release's
            return _("Something in this file was not read.")
    more = note.count - len(note.pages)
    return join_sentences(text, ngettext("{count} more page.", "{count} more pages.", more)) if more > 0 else text


def _stretches(pages: Sequence[int]) -> Iterator[str]:
    """2, 3, 4, 7 → 2–4, 7."""
    first = last = 0
    for page in [*sorted(pages), 0]:
        if page == last + 1 and first:
            last = page
            continue
        if first:
            yield number(first) if first == last else f"{number(first)}–{number(last)}"
        first = last = page
