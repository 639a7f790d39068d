"""Mails as they are sent (RFC 5322, MIME), and web pages saved as one file (MHTML)."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator
from email import policy
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser

from kb.errors import N_, DamagedFile
from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder
from kb.parsing.decoding import decode, detect_wide
from kb.parsing.mail.message import Attachment, Choice, Mail, Piece, described, write_mail
from kb.parsing.media_types import WEB_ARCHIVE
from kb.parsing.web.html import add_page

_PAGES = ("text/html", "application/xhtml+xml")
_LABELS = ("From", "To", "Cc", "Date")
_WITHOUT_TEXT = ("pkcs7-signature", "x-pkcs7-signature", "pgp-signature", "ms-tnef")
_ALIASES = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso-8859-1": "cp1252",
    "us-ascii": "utf-8",
    "ks_c_5601-1987": "cp949",
}
_SAMPLE_BYTES = 4_096
_DEEPEST = 100  # parts within parts
_LONGEST_HEADER = 10_000  # characters; to decode one takes quadratic time
_MAILBOX = re.compile(  # the line before each mail
    rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From \S{1,200} {1,3}[A-Z][a-z]{2} [A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d[^\n]{0,40}\n"
)
_ENCODED = re.compile(r"=\?[\w*-]{1,60}\?[BbQq]\?")


def parse(source: Source) -> Iterator[ParsedDocument]:
    data = source.path.read_bytes()
    if source.media_type != WEB_ARCHIVE:
        yield from write_mail(source, read_mail(data))
        return
    message = _read(data)
    pages = [part for part in message.walk() if part.get_content_type() in _PAGES]
    if not pages:
        raise DamagedFile(name=source.name, detail=N_("it holds no page"))
    builder = TextBuilder(source.name)
    first = _text(pages[0])
    add_page(builder, first)
    if "<frameset" in first.lower():  # a workbook: its sheets are pages of their own
        for page in pages[1:]:
            builder.break_paragraph()
            add_page(builder, _text(page))
            yield from builder.full_parts()
    builder.title = builder.title or _header(message, "Subject")
    yield from builder.last_parts()


def read_mail(data: bytes) -> Mail:
    """The mail in the bytes of a file; for a mailbox, one that holds all of them."""
    mails = _MAILBOX.split(data) if _MAILBOX.match(data) else [data]
    read = [_to_mail(_read(each)) for each in mails if each.strip()]
    if len(read) == 1:
        return read[0]
    return Mail(attachments=[Attachment(each.subject or "mail", each) for each in read])


def _read(data: bytes) -> Message:
    if data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")) or detect_wide(data[:_SAMPLE_BYTES]):
        data = decode(data).encode()
    return BytesParser(policy=policy.compat32).parsebytes(data.lstrip())


def _to_mail(message: Message) -> Mail:
    people = [(label, ", ".join(_headers(message, label))) for label in _LABELS]
    mail = Mail(_header(message, "Subject"), described(people))
    mail.body = _sort(message, mail, is_root=True, depth=0)
    return mail


def _sort(part: Message, mail: Mail, *, is_root: bool, depth: int) -> list[Piece | Choice]:
    """What a part of a message says. What is attached to it, and invitations, go to the mail."""
    kind, content = part.get_content_type(), part.get_payload()
    if kind == "message/delivery-status" and isinstance(content, list):
        return [Piece("\n\n".join(str(each).strip() for each in content))]
    if kind in ("message/rfc822", "message/global") and isinstance(content, list):
        messages = [each for each in content if isinstance(each, Message)]
        if is_root:  # a mail that was saved inside of another one's shell
            return [piece for each in messages[:1] for piece in _sort(each, mail, is_root=False, depth=depth + 1)]
        for each in messages:
            forwarded = _to_mail(each)
            mail.attachments.append(Attachment(_file_name(part) or forwarded.subject or "mail", forwarded))
        return []
    if isinstance(content, list):
        if depth >= _DEEPEST:
            return []
        parts = [each for each in content if isinstance(each, Message)]
        forms = [_sort(each, mail, is_root=False, depth=depth + 1) for each in parts]
        if kind == "multipart/alternative":
            return [Choice(sorted(filter(None, reversed(forms)), key=_holds_page, reverse=True))]
        return [piece for form in forms for piece in form]
    is_attached = not is_root and (part.get_content_disposition() == "attachment" or bool(_file_name(part)))
    if kind == "text/calendar" and part.get_content_disposition() != "attachment":
        mail.calendars.append(_text(part))
    elif is_attached or part.get_content_maintype() != "text":
        if not _is_decoration(part, kind):
            mail.attachments.append(Attachment(_file_name(part) or _made_up_name(part, mail), _bytes(part)))
    else:
        return [Piece(html=_text(part))] if kind in _PAGES else [Piece(_unfolded(part))]
    return []


def _holds_page(form: list[Piece | Choice]) -> bool:
    return any(isinstance(piece, Choice) or bool(piece.html) for piece in form)


def _is_decoration(part: Message, kind: str) -> bool:
    """Whether a part is no attachment to people: a picture in the text, a signature."""
    is_shown = part.get_content_disposition() != "attachment" or part.get("Content-ID") is not None
    return (part.get_content_maintype() == "image" and is_shown) or kind.endswith(_WITHOUT_TEXT)


def _header(message: Message, name: str) -> str:
    return " ".join(next(_headers(message, name), "").split())


def _headers(message: Message, name: str) -> Iterator[str]:
    """All headers of that name. Only the raw ones still hold bytes that are no ASCII."""
    return (_decoded(str(value)) for key, value in message.raw_items() if key.lower() == name.lower())


def _decoded(value: str) -> str:
    """A header in letters: `=?gbk?B?…?=` as what it stands for, and bytes that stand there as they are."""
    value = value[:_LONGEST_HEADER]
    if not _ENCODED.search(value):
        return _repaired(value)
    try:
        pieces = decode_header(value)
    except (MessageError, ValueError):
        return _repaired(value)
    return "".join(
        piece if isinstance(piece, str) else _decoded_bytes(piece, charset or "") for piece, charset in pieces
    )


def _repaired(value: str) -> str:
    """Bytes that are no ASCII, which the email package hides in surrogates."""
    if value.isascii():
        return value
    return decode(value.encode("utf-8", "surrogateescape"))


def _decoded_bytes(data: bytes, charset: str) -> str:
    charset = _ALIASES.get(charset.lower(), charset)
    if charset:
        try:
            return data.decode(charset)
        except (LookupError, ValueError):
            return decode(data)
    return decode(data)


def _file_name(part: Message) -> str:
    try:
        name = part.get_filename() or ""
    except (LookupError, MessageError, TypeError, ValueError):
        return ""
    return " ".join(_decoded(name).split()).replace("/", "_")


def _made_up_name(part: Message, mail: Mail) -> str:
    extension = mimetypes.guess_extension(part.get_content_type()) or ""
    return f"attachment {len(mail.attachments) + 1}{extension}"


def _bytes(part: Message) -> bytes:
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _text(part: Message) -> str:
    return _decoded_bytes(_bytes(part), part.get_content_charset() or "")


def _unfolded(part: Message) -> str:
    """The text, with the lines joined that the sender's program broke (RFC 3676)."""
    text = _text(part)
    if str(part.get_param("format", "")).lower() != "flowed":
        return text
    is_dropped = str(part.get_param("delsp", "")).lower() == "yes"
    pieces: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        if line.endswith(" ") and line != "-- ":
            pieces.append(line[:-1] if is_dropped else line)
        else:
            pieces += [line, "\n"]
    return "".join(pieces)
