"""E-books (EPUB 2 and 3): their chapters in reading order."""

from __future__ import annotations

import posixpath
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from urllib.parse import unquote

from lxml import etree

from kb.errors import N_, DamagedFile, PasswordProtected
from kb.models import ParsedDocument
from kb.notes import NoteKind
from kb.parsing.builder import Source, TextBuilder
from kb.parsing.elements import Element
from kb.parsing.web.html import PlacedTitle, add_page, decode_page

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")
_HAS_HEADING = re.compile(rb"<(?:\w+:)?h[1-6][\s>]", re.IGNORECASE)
_NAV_TYPE = "{http://www.idpf.org/2007/ops}type"
_MAX_PART = 50_000_000  # bytes of a chapter
_DEEPEST = 6  # levels of headings
_SIBLINGS = 10


def parse(source: Source) -> Iterator[ParsedDocument]:
    """A chapter without headings of its own gets those of the table of contents. One that is damaged is left out."""
    with zipfile.ZipFile(source.path) as archive:
        book = _Book(archive, source.name)
        builder = TextBuilder(source.name, title=book.title)
        for number, part in enumerate(book.chapters, start=1):
            if part in book.locked:
                raise PasswordProtected(name=source.name)
            builder.break_paragraph()
            try:
                content = book.read(part)
            except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, NotImplementedError):
                builder.note(NoteKind.DAMAGED_PARTS, name=posixpath.basename(part))
                continue
            add_page(builder, decode_page(content), () if _HAS_HEADING.search(content) else book.titles[part])
            yield from builder.full_parts()
            source.report(number, len(book.chapters))
        yield from builder.last_parts()


class _Book:
    """What the package document says: title, chapters in order, and their titles in the table of contents."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._archive = archive
        self._members = set(archive.namelist())
        container = self._parse(_CONTAINER)
        root_file = container.find(".//{*}rootfile") if container is not None else None
        path = (root_file.get("full-path") or "") if root_file is not None else ""
        package = self._parse(path)
        if package is None:
            raise DamagedFile(name=name, detail=N_("part of it is missing or invalid"))
        self._folder = posixpath.dirname(path)
        self.title = (package.findtext(".//{http://purl.org/dc/elements/1.1/}title") or "").strip()
        items = {item.get("id"): item for item in package.iterfind(".//{*}manifest/{*}item")}
        read = [
            items[each.get("idref")]
            for each in package.iterfind(".//{*}spine/{*}itemref")
            if each.get("idref") in items
        ]
        chapters = [
            self._path(item.get("href"))
            for item in read
            if (item.get("media-type") or _PAGES[0]) in _PAGES and "nav" not in (item.get("properties") or "").split()
        ]
        self.chapters = list(dict.fromkeys(chapters))  # one that is listed again is read once
        self.locked = {self._path(each, "") for each in self._locked()}
        self.titles: defaultdict[str, list[PlacedTitle]] = defaultdict(list)
        for item in items.values():
            if item.get("media-type") == "application/x-dtbncx+xml" or "nav" in (item.get("properties") or "").split():
                self._learn_titles(self._path(item.get("href")))

    def read(self, part: str) -> bytes:
        with self._archive.open(part) as file:
            return file.read(_MAX_PART)

    def _path(self, reference: str | None, folder: str | None = None) -> str:
        """A member's name, from a reference in a document in `folder`."""
        target = unquote((reference or "").partition("#")[0])
        return posixpath.normpath(posixpath.join(self._folder if folder is None else folder, target)).lstrip("/")

    def _locked(self) -> Iterator[str]:
        """Members that are encrypted. Fonts may be, in books that can be read."""
        encryption = self._parse(_ENCRYPTION)
        for each in encryption.iterfind(".//{*}CipherReference") if encryption is not None else ():
            yield each.get("URI") or ""

    def _learn_titles(self, part: str) -> None:
        contents = self._parse(part)
        if contents is None:
            return
        folder = posixpath.dirname(part)
        for each in contents.iterfind(".//{*}navPoint"):
            target, label = each.find("{*}content"), each.find("{*}navLabel/{*}text")
            if target is not None and label is not None:
                level = 1 + _depth(each, "{*}navPoint")
                self._learn(self._path(target.get("src"), folder), target.get("src"), level, label.text)
        for nav in contents.iterfind(".//{*}nav"):
            if nav.get(_NAV_TYPE, "toc") == "toc":
                for link in nav.iterfind(".//{*}a"):
                    level = max(1, _depth(link, "{*}ol"))
                    self._learn(self._path(link.get("href"), folder), link.get("href"), level, "".join(link.itertext()))

    def _learn(self, part: str, reference: str | None, level: int, title: str | None) -> None:
        place = unquote((reference or "").partition("#")[2])
        known = self.titles[part]
        if title and title.strip() and all(place != each[0] for each in known[-_SIBLINGS:]):
            known.append((place, level, title))

    def _parse(self, part: str) -> Element | None:
        if part not in self._members:
            return None
        parser = etree.XMLParser(resolve_entities=False, no_network=True, recover=True)
        return etree.fromstring(self.read(part), parser)


def _depth(element: Element, around: str) -> int:
    return sum(1 for _ancestor in islice(element.iterancestors(around), _DEEPEST - 1))
