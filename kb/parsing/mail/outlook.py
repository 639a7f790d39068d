"""Mails that Outlook saved (.msg): [MS-OXMSG], a folder of streams, one for each property."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import compressed_rtf
import olefile

from kb.models import ParsedDocument
from kb.parsing.builder import Source
from kb.parsing.decoding import decode
from kb.parsing.mail.message import Attachment, Choice, Mail, Piece, described, write_mail

# Properties: [MS-OXPROPS].
_SUBJECT, _BODY, _HTML, _RICH_TEXT = 0x0037, 0x1000, 0x1013, 0x1009
_SENDER, _SENDER_SMTP, _SENDER_ADDRESS = 0x0C1A, 0x5D01, 0x0C1F
_NAME, _SMTP, _ADDRESS, _RECIPIENT_TYPE = 0x3001, 0x39FE, 0x3003, 0x0C15
_SENT, _DELIVERED = 0x0039, 0x0E06
_LONG_FILE_NAME, _FILE_NAME, _DATA, _HIDDEN = 0x3707, 0x3704, 0x3701, 0x7FFE
_CODE_PAGES = (0x3FDE, 0x3FFD)
_UNICODE, _STRING, _BINARY, _STORAGE = 0x001F, 0x001E, 0x0102, 0x000D
_TO, _CC = 1, 2
_DEEPEST = 60
_MOST = 2_000  # recipients and attachments of a mail
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_UTF_8 = 65001

_Path = list[str]


def parse(source: Source) -> Iterator[ParsedDocument]:
    yield from write_mail(source, read_mail(source.path.read_bytes()))


def read_mail(data: bytes) -> Mail:
    """The mail in the bytes of a file, with the mails attached to it."""
    with olefile.OleFileIO(io.BytesIO(data)) as file:
        return _Folder(file, [], header=32).read(0)


class _Folder:
    """The properties of a mail, a recipient or an attachment; `header` is how long the head of their list is."""

    def __init__(self, file: olefile.OleFileIO, path: _Path, header: int) -> None:
        self._file = file
        self._path = path
        self._fixed = dict(self._read_fixed(header))
        self._encoding = next((_encoding(self._number(each)) for each in _CODE_PAGES if self._number(each)), "")

    def read(self, depth: int) -> Mail:
        """What the mail says and holds."""
        sender = _address(self._text(_SENDER), self._text(_SENDER_SMTP) or self._text(_SENDER_ADDRESS))
        recipients: dict[int, list[str]] = {_TO: [], _CC: []}
        for folder in self._folders("__recip_version1.0_"):
            address = _address(folder._text(_NAME), folder._text(_SMTP) or folder._text(_ADDRESS))
            recipients.setdefault(folder._number(_RECIPIENT_TYPE), []).append(address)
        people = [
            ("From", sender),
            ("To", ", ".join(recipients[_TO])),
            ("Cc", ", ".join(recipients[_CC])),
            ("Date", self._time(_SENT) or self._time(_DELIVERED)),
        ]
        page, text = self._page(), self._text(_BODY)
        rich_text = b"" if page or text.strip() else self._rich_text()
        forms: list[list[Piece | Choice]] = [[Piece(html=page)], [Piece(text)], [Piece(rich_text=rich_text)]]
        mail = Mail(" ".join(self._text(_SUBJECT).split()), described(people), [Choice(forms)])
        mail.attachments = [
            attachment for folder in self._folders("__attach_version1.0_") for attachment in folder._attachments(depth)
        ]
        return mail

    def _attachments(self, depth: int) -> Iterator[Attachment]:
        name = " ".join((self._text(_LONG_FILE_NAME) or self._text(_FILE_NAME) or self._text(_NAME)).split())
        inside = [*self._path, _stream(_DATA, _STORAGE)]
        if self._file.exists([*inside, "__properties_version1.0"]):
            if depth < _DEEPEST:
                mail = _Folder(self._file, inside, header=24).read(depth + 1)
                yield Attachment(name or mail.subject or "mail", mail)
        elif not self._number(_HIDDEN):  # else a picture in the text
            yield Attachment(name or "attachment", self._bytes(_DATA, _BINARY))

    def _folders(self, prefix: str) -> Iterator[_Folder]:
        depth = len(self._path) + 1
        found = [
            path
            for path in self._file.listdir(streams=False, storages=True)
            if len(path) == depth and path[:-1] == self._path and path[-1].lower().startswith(prefix)
        ]
        return (_Folder(self._file, path, header=8) for path in found[:_MOST])

    # --- properties ---

    def _read_fixed(self, header: int) -> Iterator[tuple[int, bytes]]:
        """The values of properties that have eight bytes at most."""
        data = self._open("__properties_version1.0")[header:]
        for place in range(0, len(data) - 15, 16):
            _kind, name = struct.unpack_from("<HH", data, place)
            yield name, data[place + 8 : place + 16]

    def _number(self, name: int) -> int:
        return int.from_bytes(self._fixed.get(name, b"")[:4], "little")

    def _time(self, name: int) -> str:
        ticks = int.from_bytes(self._fixed.get(name, b""), "little")  # of 100 ns
        try:
            return f"{_EPOCH + timedelta(microseconds=ticks // 10):%Y-%m-%d %H:%M} UTC" if ticks else ""
        except OverflowError:
            return ""

    def _text(self, name: int) -> str:
        text = self._bytes(name, _UNICODE).decode("utf-16-le", "replace")
        return (text or self._decoded(self._bytes(name, _STRING))).rstrip("\0")

    def _page(self) -> str:
        return self._decoded(self._bytes(_HTML, _BINARY)) or self._text(_HTML)

    def _rich_text(self) -> bytes:
        packed = self._bytes(_RICH_TEXT, _BINARY)
        with suppress(Exception):  # the library raises nothing more exact for broken data
            return bytes(compressed_rtf.decompress(packed)) if packed else b""
        return b""

    def _decoded(self, data: bytes) -> str:
        try:
            return data.decode(self._encoding) if self._encoding else decode(data)
        except (LookupError, ValueError):
            return decode(data)

    def _bytes(self, name: int, kind: int) -> bytes:
        return self._open(_stream(name, kind))

    def _open(self, name: str) -> bytes:
        path = [*self._path, name]
        if not self._file.exists(path):
            return b""
        with self._file.openstream(path) as stream:
            found: bytes = stream.read()
        return found


def _stream(name: int, kind: int) -> str:
    return f"__substg1.0_{name:04X}{kind:04X}"


def _encoding(code_page: int) -> str:
    return "utf-8" if code_page == _UTF_8 else "gb18030" if code_page in (936, 54936) else f"cp{code_page}"


def _address(name: str, address: str) -> str:
    """`Anna <anna@a.example>`; addresses inside of an organization's directory say nothing to people."""
    address = "" if address.upper().startswith("/O=") else address
    return f"{name} <{address}>" if name and address and name != address else name or address
