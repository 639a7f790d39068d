"""Compares a file's extension with its content; if they disagree, the error names both."""

from __future__ import annotations

import mmap
import re
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import puremagic

from kb.errors import (
    N_,
    DamagedFile,
    EmptyFile,
    PasswordProtected,
    TooManyParts,
    UnpacksTooLarge,
    UnsupportedFormat,
    WrongFormat,
)
from kb.parsing.builder import Source
from kb.parsing.media_types import (
    BINARY,
    BY_EXTENSION,
    COMMA_SEPARATED,
    HTML,
    LABELS,
    MAIL,
    OFTEN_MISNAMED,
    OLD_EXCEL,
    PARSERS,
    PDF,
    PICTURES,
    PLAIN,
    RICH_TEXT,
    SUPPORTED_EXTENSIONS,
    TAB_SEPARATED,
    WEB_ARCHIVE,
    XML,
)

_OOXML_MAIN = {
    "word/document.xml": ".docx",
    "ppt/presentation.xml": ".pptx",
    "xl/workbook.xml": ".xlsx",
    "xl/workbook.bin": ".xlsb",
}
# The streams that tell the formats of OLE files; one file may hold another, so the first one counts.
_OLE_STREAMS = {
    "__properties_version1.0": ".msg",
    "PowerPoint Document": ".ppt",
    "WordDocument": ".doc",
    "Workbook": ".xls",
    "Book": ".xls",
}
_ZIPPED = (".docx", ".pptx", ".xlsx", ".xlsb", ".odt", ".ods", ".odp", ".epub")
_OLD = (".doc", ".ppt", ".xls", ".msg")
_BINARY_FORMATS = {BY_EXTENSION[extension]: extension for extension in (*_ZIPPED, *_OLD)}
_PICTURES = {
    ".png": re.compile(rb"\x89PNG\r\n"),
    ".jpg": re.compile(rb"\xff\xd8\xff"),
    ".tiff": re.compile(rb"II[*+]\0|MM\0[*+]"),
    ".webp": re.compile(rb"RIFF....WEBP", re.S),
    ".bmp": re.compile(rb"BM.{4}\0{4}", re.S),
    ".gif": re.compile(rb"GIF8[79]a"),
}
_STRICT = b"http://purl.oclc.org/ooxml/"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HTML = re.compile(rb"\s*+(?:<\?xml[^>]*+>\s*+)?(?:<!--.*?-->\s*+)*+(?:<!doctype\s+html|<html[\s>])", re.I | re.S)
_MHTML = re.compile(
    rb"\s{0,20}(?:[\w-]{1,40}:[^\n]{0,500}\n(?:[ \t][^\n]{0,500}\n){0,9}){0,30}?content-type:\s*multipart/related", re.I
)
# The lines that a mail begins with, and those that only programs for mail write.
_MAIL_HEADER = re.compile(
    rb"(?:From [^\n]{1,300}\n)?(?:[A-Za-z][\w-]{1,60}:[^\n]{0,2000}\n(?:[ \t][^\n]{0,2000}\n){0,200}){3}"
)
_MAIL_FIELDS = re.compile(rb"^(?:message-id|mime-version|received|return-path|content-type):", re.I | re.M)
_MAIL_FROM = re.compile(rb"^from:", re.I | re.M)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, EOFError)
_FEW_CONTROLS = 8
_HEAD_BYTES = 64 * 1024
_PDF_END_BYTES = 64 * 1024  # some programs append data of their own or pad with zeros
_LINEARIZED_BYTES = 1024  # ISO 32000-1, annex F: its dictionary is in the first 1,024 bytes
_LINEARIZED = re.compile(rb"<<[^>]*/Linearized\b[^>]*>>")
_LENGTH = re.compile(rb"/L\s+(\d+)")
_CROSS_REFERENCE = re.compile(rb"startxref\s+([1-9]\d{0,14})\s")
_IS_CROSS_REFERENCE = re.compile(rb"\s*(?:xref\s|\d+\s+\d+\s+obj\b)")
_MAX_UNPACKED_BYTES = 1 << 30
_MAX_MEMBERS = 100_000
_MAX_PART_NAME = 100  # characters that are shown of it


def extension_of(name: str) -> str:
    """The extension of a file name in lower case; empty if there is none."""
    return PurePosixPath(name.replace("\\", "/").strip()).suffix.lower()


def detect_media_type(path: Path, name: str) -> str:
    """The format of a file that is uploaded as `name`: as its extension says, if we know it, else by its content.

    It is decided once, at registration. Whether the content is really of this format, `check` finds out.
    """
    known = BY_EXTENSION.get(extension_of(name))
    if known and known not in OFTEN_MISNAMED:
        return known
    head = _read_head(path)
    if extension := _extension_of_content(path, head):
        return BY_EXTENSION[extension]
    if head.startswith(_OLE) or _is_binary(head) or not head:
        return known or BINARY
    if _HTML.match(head):
        return HTML
    if _MHTML.match(head):
        return WEB_ARCHIVE
    if _is_mail(head):
        return MAIL
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<?xml"):
        return XML
    return COMMA_SEPARATED if known == OLD_EXCEL else PLAIN


def is_same_kind(name: str, other: str) -> bool:
    """Whether the extensions of two file names tell the same format: “.jpg” and “.jpeg” do, “.md” and “.pdf” not."""
    return BY_EXTENSION.get(extension_of(name)) == BY_EXTENSION.get(extension_of(other))


def extensions_like(name: str) -> list[str]:
    """Those of files that are of the same kind as this one; none if its extension is not known."""
    kind = BY_EXTENSION.get(extension_of(name))
    return [extension for extension, other in BY_EXTENSION.items() if other == kind]


def require_supported(name: str, media_type: str) -> None:
    """Errors: `UnsupportedFormat`, for a format that no parser reads."""
    if media_type not in PARSERS:
        raise _unsupported(name)


def _unsupported(name: str) -> UnsupportedFormat:
    extension = extension_of(name)
    kind = LABELS.get(extension, extension or N_("no extension"))
    return UnsupportedFormat(name=name, kind=kind, supported=" ".join(SUPPORTED_EXTENSIONS))


def _is_mail(head: bytes) -> bool:
    """Whether a file begins with the header of a mail."""
    header = head.replace(b"\r", b"").partition(b"\n\n")[0] + b"\n"
    is_sent = bool(_MAIL_FROM.search(header)) and len(_MAIL_FIELDS.findall(header)) > 1
    return is_sent and _MAIL_HEADER.match(header) is not None


def check(source: Source) -> str:
    """The name of the module that reads `source`, after checking that its content matches its media type."""
    if source.path.stat().st_size == 0:
        raise EmptyFile(name=source.name)
    parser = PARSERS.get(source.media_type)
    if parser is None:
        raise _unsupported(source.name)
    if source.media_type == PDF:
        _check_pdf(source)
    elif source.media_type in _BINARY_FORMATS:
        _check_container(source, _BINARY_FORMATS[source.media_type])
    elif source.media_type == RICH_TEXT:
        _check_rich_text(source)
    elif source.media_type in PICTURES:
        _check_picture(source)
    else:
        _check_text(source)
    return parser


def _check_pdf(source: Source) -> None:
    """Raise unless `source` begins and ends as a PDF. PDFium would read a truncated file without an error."""
    head = _read_head(source.path)
    if b"%PDF-" in head[:1024]:
        if _is_cut_off(source.path, head):
            raise DamagedFile(name=source.name, detail=N_("its end is missing"))
        return
    if not head.strip(b"\0"):
        raise DamagedFile(name=source.name, detail=N_("it starts with zero bytes only"))
    raise WrongFormat(name=source.name, expected="PDF", actual=_describe(source.path, head))


def _is_cut_off(path: Path, head: bytes) -> bool:
    """Whether a PDF lacks its end, or is shorter than it says (a linearized PDF has two ends).

    Without the end mark, it is whole if its last cross-reference is where the file says.
    """
    size = path.stat().st_size
    linearized = _LINEARIZED.search(head[:_LINEARIZED_BYTES])
    length = _LENGTH.search(linearized[0]) if linearized else None
    if length and size < int(length[1]):
        return True
    with path.open("rb") as file:
        file.seek(max(0, size - _PDF_END_BYTES))
        if b"%%EOF" in file.read():
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            place = _CROSS_REFERENCE.match(content, max(0, content.rfind(b"startxref")))
            return place is None or not _IS_CROSS_REFERENCE.match(content, int(place[1]))


def _check_container(source: Source, extension: str) -> None:
    """Raise unless `source` is a valid ZIP or OLE file with the main part of such a document."""
    head = _read_head(source.path)
    if head.startswith(_OLE):
        if _holds_stream(source.path, "EncryptedPackage"):
            raise PasswordProtected(name=source.name)
        if _extension_of_ole(source.path) == extension:
            return
    elif head.startswith(b"PK"):
        if extension in _ZIPPED and _kind_of_zip(source) == extension:
            return
    elif not head.strip(b"\0"):
        raise DamagedFile(name=source.name, detail=N_("it starts with zero bytes only"))
    raise WrongFormat(name=source.name, expected=LABELS[extension], actual=_describe(source.path, head))


def _check_rich_text(source: Source) -> None:
    head = _read_head(source.path)
    if not head.lstrip().startswith(b"{\\rtf"):
        raise WrongFormat(name=source.name, expected=LABELS[".rtf"], actual=_describe(source.path, head))


def _check_picture(source: Source) -> None:
    """Raise unless it is a picture; many have the name of another kind of picture."""
    head = _read_head(source.path)
    if not any(begin.match(head) for begin in _PICTURES.values()):
        expected = LABELS[next(name for name in _PICTURES if BY_EXTENSION[name] == source.media_type)]
        raise WrongFormat(name=source.name, expected=expected, actual=_describe(source.path, head))


def _check_text(source: Source) -> None:
    """Raise if the file is another kind of document, or binary data."""
    head = _read_head(source.path)
    expected = N_("text") if source.media_type == PLAIN else extension_of(source.name).lstrip(".").upper()
    is_page = source.media_type in (COMMA_SEPARATED, TAB_SEPARATED) and _HTML.match(head)
    if is_page or head.startswith((b"PK\x03\x04", b"%PDF-", b"{\\rtf", _OLE)) or _is_binary(head):
        raise WrongFormat(name=source.name, expected=expected, actual=_describe(source.path, head))


def _is_binary(head: bytes) -> bool:
    """Whether there are too many control characters for text in any encoding; a few NULs are fine."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        return False
    from kb.parsing.decoding import detect_wide

    return len(_CONTROL.findall(head)) > max(_FEW_CONTROLS, len(head) * 0.05) and not detect_wide(head)


def _kind_of_zip(source: Source) -> str:
    """The extension that fits the members of the ZIP. Raises for a broken ZIP and for a ZIP bomb."""
    try:
        with zipfile.ZipFile(source.path) as archive:
            members = archive.infolist()
            relations, media_type = _read_member(archive, "_rels/.rels"), _read_member(archive, "mimetype")
    except _BROKEN_ZIP as error:
        raise DamagedFile(name=source.name, detail=N_("its end is missing or its directory is corrupt")) from error
    unpacked = sum(member.file_size for member in members)
    if unpacked > _MAX_UNPACKED_BYTES:
        largest = max(members, key=lambda member: member.file_size)
        sizes = {"size": _size(unpacked), "limit": _size(_MAX_UNPACKED_BYTES), "part_size": _size(largest.file_size)}
        raise UnpacksTooLarge(name=source.name, part=largest.filename[-_MAX_PART_NAME:], **sizes)
    if len(members) > _MAX_MEMBERS:
        raise TooManyParts(name=source.name, count=len(members), limit=_MAX_MEMBERS)
    if _STRICT in relations:
        kind = N_("Strict Open XML; save it as a regular Word, PowerPoint or Excel file")
        raise UnsupportedFormat(name=source.name, kind=kind, supported=" ".join(SUPPORTED_EXTENSIONS))
    return _kind_of_members({member.filename.replace("\\", "/").lower() for member in members}, media_type)


def _size(size_bytes: int) -> str:
    gigabytes = size_bytes / 2**30
    return f"{gigabytes:.1f} GB".replace(".0 ", " ") if gigabytes >= 1 else f"{size_bytes / 2**20:.0f} MB"


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The start of a part that tells the format; empty if there is none."""
    if name not in archive.namelist():
        return b""
    with archive.open(name) as part:
        return part.read(_HEAD_BYTES)


def _kind_of_members(names: set[str], media_type: bytes) -> str:
    for main, extension in _OOXML_MAIN.items():
        stem, _dot, kind = main.partition(".")
        if any(name.startswith(stem) and name.endswith(f".{kind}") for name in names):
            return extension
    for extension in (".odt", ".ods", ".odp", ".epub"):
        if media_type.startswith(BY_EXTENSION[extension].encode()):
            return extension
    return ".epub" if "meta-inf/container.xml" in names else ".zip"


def _describe(path: Path, head: bytes) -> str:
    """What the content looks like, in words for users."""
    if extension := _extension_of_content(path, head):
        return LABELS[extension]
    if head.startswith(_OLE):
        return N_("an old Office file")
    if _HTML.match(head):
        return "HTML"
    if not _is_binary(head):
        return N_("plain text")
    try:
        return puremagic.magic_string(head)[0].name or N_("binary data")
    except (puremagic.PureError, ValueError, IndexError):
        return N_("binary data")


def _extension_of_content(path: Path, head: bytes) -> str:
    """The extension that fits what the file begins with; empty for texts and unknown formats."""
    if head.startswith(_OLE):
        return _extension_of_ole(path)
    if head.startswith(b"PK\x03\x04"):
        return _extension_of_zip(path)
    if head.startswith(b"%PDF-"):
        return ".pdf"
    if head.startswith(b"{\\rtf"):
        return ".rtf"
    return next((extension for extension, begin in _PICTURES.items() if begin.match(head)), "")


def _extension_of_ole(path: Path) -> str:
    return next((extension for stream, extension in _OLE_STREAMS.items() if _holds_stream(path, stream)), "")


def _extension_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            return _kind_of_members({name.lower() for name in archive.namelist()}, _read_member(archive, "mimetype"))
    except _BROKEN_ZIP:
        return ".zip"


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _holds_stream(path: Path, stream: str) -> bool:
    """Whether the directory of an OLE file names `stream`. The directory can be anywhere in the file."""
    entry = stream.encode("utf-16-le") + b"\0\0"
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(entry) >= 0
