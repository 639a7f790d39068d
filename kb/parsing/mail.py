"""A mail → text: its heading, who wrote to whom, what it says, and its attachments, each under its name.

An attachment is read by the parser for its format, as if it were uploaded. Mails attached to mails are read as well.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from kb.errors import KbError
from kb.models import ParsedDocument
from kb.notes import INCOMPLETE, NoteKind
from kb.parsing import parse_source
from kb.parsing.builder import Source, TextBuilder
from kb.parsing.html import add_page
from kb.parsing.kinds import detect_media_type
from kb.parsing.media_types import MAIL, OUTLOOK_MAIL, PARSERS

_DEEPEST = 60  # mails within mails
_MOST = 1_000  # attachments
_LOWEST_LEVEL = 9  # of a heading


@dataclass(slots=True)
class Attachment:
    """A file in a mail, or a mail that was forwarded as one."""

    name: str
    content: bytes | Mail


@dataclass(slots=True)
class Mail:
    """What the readers of the formats find in one: what it says as `html`, else as `text`, else as `rich_text`."""

    subject: str = ""
    people: list[tuple[str, str]] = field(default_factory=list)  # From, To, Cc, Date: the label and the value
    text: str = ""
    html: str = ""
    rich_text: bytes = b""
    attachments: list[Attachment] = field(default_factory=list)


def write_mail(source: Source, mail: Mail) -> Iterator[ParsedDocument]:
    """The parts of the document that `mail` is. An attachment that cannot be read becomes a note with its name."""
    builder = TextBuilder(source.name, title=mail.subject)
    writer = _Writer(builder, source)
    yield from writer.add(mail, 0)
    yield from builder.last_parts()


class _Writer:
    def __init__(self, builder: TextBuilder, source: Source) -> None:
        self._builder = builder
        self._source = source
        self._done = self._total = 0  # attachments

    def add(self, mail: Mail, depth: int, name: str = "") -> Iterator[ParsedDocument]:
        level = min(1 + depth, _LOWEST_LEVEL)
        self._builder.add_heading(level, mail.subject or name)
        names = [each.name for each in mail.attachments]
        lines = [*mail.people, *([("Attachments", ", ".join(names))] if names else [])]
        self._builder.add("\n".join(f"{label}: {value}" for label, value in lines if value))
        self._builder.break_paragraph()
        self._add_body(mail)
        yield from self._builder.full_parts()
        self._total += len(mail.attachments)
        for attachment in mail.attachments:
            self._builder.break_paragraph()
            yield from self._attach(attachment, depth + 1)
            yield from self._builder.full_parts()
            self._done += 1
            self._source.report(self._done, self._total)

    def _add_body(self, mail: Mail) -> None:
        before = self._builder.length
        if mail.html:
            title, self._builder.title = self._builder.title, self._builder.title or " "  # not that of the body
            add_page(self._builder, mail.html)
            self._builder.title = title
        if self._builder.length == before:
            self._builder.add(mail.text)
        if self._builder.length == before and mail.rich_text:
            from kb.parsing.rtf import add_rich_text

            for _block in add_rich_text(self._builder, mail.rich_text):
                continue

    def _attach(self, attachment: Attachment, depth: int) -> Iterator[ParsedDocument]:
        content = attachment.content
        is_sealed = isinstance(content, bytes) and content.lstrip().startswith(b"-----BEGIN PGP MESSAGE-----")
        if depth > _DEEPEST or self._done >= _MOST or is_sealed:
            self._builder.note(NoteKind.UNREAD_ATTACHMENTS, name=attachment.name)
        elif isinstance(content, Mail):
            yield from self.add(content, depth, attachment.name)
        else:
            with tempfile.NamedTemporaryFile(prefix="zhiwen-") as file:
                file.write(content)
                file.flush()
                yield from self._add_file(attachment, Path(file.name), depth)

    def _add_file(self, attachment: Attachment, path: Path, depth: int) -> Iterator[ParsedDocument]:
        media_type = detect_media_type(path, attachment.name)
        try:
            if media_type in (MAIL, OUTLOOK_MAIL):
                mail: Mail = import_module(f"kb.parsing.{PARSERS[media_type]}").read_mail(path.read_bytes())
                yield from self.add(mail, depth, attachment.name)
                return
            parts = parse_source(self._inner(path, attachment.name, media_type))
            first = next(parts, None)
            if first is None:
                return
            level = min(1 + depth, _LOWEST_LEVEL)
            self._builder.add_heading(level, attachment.name)
            self._add_part(first, attachment.name, level)
            for part in parts:
                yield from self._builder.full_parts()
                self._add_part(part, attachment.name, level)
        except KbError:
            self._builder.note(NoteKind.UNREAD_ATTACHMENTS, name=attachment.name)

    def _inner(self, path: Path, name: str, media_type: str) -> Source:
        """The attachment as a document, whose pages show that reading goes on."""

        def report(done: int, total: int) -> None:
            self._source.report(self._done, self._total)

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


def described(people: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Labels and values in one line each, without those that have none."""
    return [(label, " ".join(value.split())) for label, value in people if value.strip()]
