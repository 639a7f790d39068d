"""A mail → text: its heading, who wrote to whom, what it says, and its attachments, each under its name.

An attachment is read by the parser for its format, as if it were uploaded. Mails attached to mails are read as well.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from kb.errors import KbError
from kb.models import ParsedDocument
from kb.notes import INCOMPLETE, NoteKind
from kb.parsing import parse_source
from kb.parsing.builder import Source, TextBuilder
from kb.parsing.kinds import detect_media_type
from kb.parsing.mail.calendars import read_events
from kb.parsing.media_types import PARSERS, STARTS_AT_ATTACHMENT
from kb.parsing.web.html import add_page

_DEEPEST = 60  # mails within mails
_MOST = 10_000  # texts and attachments
_LOWEST_LEVEL = 9  # of a heading


@dataclass(slots=True)
class Attachment:
    """A file in a mail, or a mail that was forwarded as one."""

    name: str
    content: bytes | Mail


@dataclass(slots=True)
class Piece:
    """A part of what a mail says: a `text`, a page of HTML, or Rich Text."""

    text: str = ""
    html: str = ""
    rich_text: bytes = b""


@dataclass(slots=True)
class Choice:
    """The same in several forms, the best one first. The first that holds any text is read."""

    forms: list[list[Piece | Choice]]


@dataclass(slots=True)
class Mail:
    """What the readers of the formats find in one."""

    subject: str = ""
    people: list[tuple[str, str]] = field(default_factory=list)  # From, To, Cc, Date: the label and the value
    body: list[Piece | Choice] = field(default_factory=list)
    calendars: list[str] = field(default_factory=list)  # invitations
    attachments: list[Attachment] = field(default_factory=list)


def write_mail(source: Source, mail: Mail) -> Iterator[ParsedDocument]:
    """The parts of the document that `mail` is. An attachment that cannot be read becomes a note with its name.

    The mail's own text and its attachments, also those of the mails in it, count as pages: reading begins at
    `source.first_page`, and leaves out those in `source.skipped`.
    """
    builder = TextBuilder(source.name, title=mail.subject, is_continued=source.first_page > 1)
    writer = _Writer(builder, source)
    yield from writer.add(mail, 0)
    yield from builder.last_parts()


class _Writer:
    def __init__(self, builder: TextBuilder, source: Source) -> None:
        self._builder = builder
        self._source = source
        self._number = 0  # of the text or attachment that is read
        self._total = 1

    def add(self, mail: Mail, depth: int, name: str = "") -> Iterator[ParsedDocument]:
        self._total += len(mail.attachments)
        self._number += 1
        if self._is_wanted(name or mail.subject):
            self._add_text(mail, depth, name)
        yield from self._finish()
        for attachment in mail.attachments:
            self._builder.break_paragraph()
            yield from self._attach(attachment, depth + 1)

    def _is_wanted(self, name: str) -> bool:
        """Whether to read what has the current number; a note says what is left out."""
        if self._number in self._source.skipped and self._number >= self._source.first_page:
            self._builder.note(NoteKind.UNREAD_ATTACHMENTS, name=name)
        return self._number >= self._source.first_page and self._number not in self._source.skipped

    def _finish(self) -> Iterator[ParsedDocument]:
        """Hand over what was read, so that it is not lost if the next attachment ends the process."""
        if self._number >= self._source.first_page:
            yield from self._builder.parts()
            self._source.report(self._number, self._total)

    def _add_text(self, mail: Mail, depth: int, name: str) -> None:
        self._builder.add_heading(min(1 + depth, _LOWEST_LEVEL), mail.subject or name)
        names = [each.name for each in mail.attachments] if mail.subject or mail.people or mail.body else []
        lines = [*mail.people, *([("Attachments", ", ".join(names))] if names else [])]
        self._builder.add("\n".join(f"{label}: {value}" for label, value in lines if value))
        self._builder.break_paragraph()
        title, self._builder.title = self._builder.title, self._builder.title or " "  # not that of a page in it
        self._add_pieces(mail.body)
        self._builder.title = title
        for calendar in mail.calendars:
            for event, its_lines in read_events(calendar):
                self._builder.break_paragraph()
                self._builder.add("\n".join([event, *its_lines] if event != mail.subject else its_lines))

    def _add_pieces(self, pieces: Sequence[Piece | Choice]) -> None:
        for piece in pieces:
            if isinstance(piece, Choice):
                before = self._builder.length
                for form in piece.forms:
                    self._add_pieces(form)
                    if self._builder.length > before:
                        break
            elif piece.html:
                add_page(self._builder, piece.html)
            elif piece.rich_text:
                from kb.parsing.office.rtf import add_rich_text

                for _block in add_rich_text(self._builder, piece.rich_text):
                    continue
            else:
                self._builder.add(piece.text)
            self._builder.break_paragraph()

    def _attach(self, attachment: Attachment, depth: int) -> Iterator[ParsedDocument]:
        content = attachment.content
        is_sealed = isinstance(content, bytes) and content.lstrip().startswith(b"-----BEGIN PGP MESSAGE-----")
        if depth > _DEEPEST or self._number >= _MOST or is_sealed:
            self._number += 1
            if self._is_wanted(attachment.name):
                self._builder.note(NoteKind.UNREAD_ATTACHMENTS, name=attachment.name)
        elif isinstance(content, Mail):
            yield from self.add(content, depth, attachment.name)
            return
        else:
            with tempfile.NamedTemporaryFile(prefix="zhiwen-") as file:
                file.write(content)
                file.flush()
                yield from self._add_file(attachment.name, Path(file.name), depth)
        yield from self._finish()

    def _add_file(self, name: str, path: Path, depth: int) -> Iterator[ParsedDocument]:
        media_type = detect_media_type(path, name)
        if media_type in STARTS_AT_ATTACHMENT and self._number + 1 not in self._source.skipped:
            mail = _read_mail(path, media_type)
            if mail is not None:
                yield from self.add(mail, depth, name)
                return
        self._number += 1
        if not self._is_wanted(name):
            return
        level = min(1 + depth, _LOWEST_LEVEL)
        is_first = True
        try:
            for part in parse_source(self._inner(path, name, media_type)):
                if is_first:
                    self._builder.add_heading(level, name)
                    is_first = False
                self._add_part(part, name, level)
                yield from self._builder.full_parts()
        except KbError:
            self._builder.note(NoteKind.UNREAD_ATTACHMENTS, name=name)

    def _inner(self, path: Path, name: str, media_type: str) -> Source:
        """The attachment as a document, whose pages show that reading goes on."""

        def report(done: int, total: int) -> None:
            self._source.report(self._number - 1, self._total)

        return Source(path, name, media_type, report, reads_images=self._source.reads_images)

    def _add_part(self, part: ParsedDocument, name: str, level: int) -> None:
        """Take over a part of another document, its headings below `level`. Its pages are not those of the mail."""
        shift = self._builder.add_clean(part.text, gap=2) - (len(part.text) - len(part.text.lstrip("\n")))
        for heading in part.headings:
            self._builder.mark_heading(shift + heading.start, min(level + heading.level, _LOWEST_LEVEL), heading.title)
        for rows in part.tables:
            self._builder.mark_rows(shift + rows.start, min(shift + rows.end, self._builder.length))
        if any(note.kind in INCOMPLETE for note in part.notes):
            self._builder.note(NoteKind.PARTLY_READ_ATTACHMENTS, name=name)


def _read_mail(path: Path, media_type: str) -> Mail | None:
    """The mail in a file; None if it is damaged."""
    with suppress(Exception):  # the libraries raise all kinds of exceptions for a broken file
        mail: Mail = import_module(f"kb.parsing.{PARSERS[media_type]}").read_mail(path.read_bytes())
        return mail
    return None


def described(people: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Labels and values in one line each, without those that have none."""
    return [(label, " ".join(value.split())) for label, value in people if value.strip()]
