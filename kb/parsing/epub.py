"""E-books (EPUB 2 and 3): their chapters in reading order."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from lxml import etree

from kb.errors import N_, DamagedFile, PasswordProtected
from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder
from kb.parsing.html import add_page, decode_page

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")
_HAS_HEADING = re.compile(rb"<(?:\w+:)?h[1-6][\s>]", re.IGNORECASE)
_MAX_PART = 50_000_000  # bytes of a chapter

Element = Any  # lxml gives no types


def parse(source: Source) -> Iterator[ParsedDocument]:
    """A chapter without a heading of its own gets its title from the table of contents."""
    with zipfile.ZipFile(source.path) as archive:
        book = _Book(archive, source.name)
        builder = TextBuilder(source.name, title=book.title)
        for number, part in enumerate(book.chapters, start=1):
            if part in book.locked:
                raise PasswordProtected(name=source.name)
            builder.break_paragraph()
            content = book.read(part)
            if not _HAS_HEADING.search(content) and part in book.titles:
                builder.add_heading(1, book.titles[part])
            add_page(builder, decode_page(content))
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
        self.chapters = [
            part
            for item in read
            if (item.get("media-type") or _PAGES[0]) in _PAGES and "nav" not in (item.get("properties") or "").split()
            for part in [self._path(item.get("href"))]
            if part in self._members
        ]
        self.locked = {self._path(each, "") for each in self._locked()}
        self.titles: dict[str, str] = {}
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
        folder = posixpath.dirname(part)
        if contents is None:
            return
        pairs = [
            (each.find("{*}content"), each.find("{*}navLabel/{*}text")) for each in contents.iterfind(".//{*}navPoint")
        ]
        found = [(target.get("src"), label.text) for target, label in pairs if target is not None and label is not None]
        found += [(link.get("href"), "".join(link.itertext())) for link in contents.iterfind(".//{*}nav//{*}a")]
        for reference, title in found:
            if title and title.strip():
                self.titles.setdefault(self._path(reference, folder), title)

    def _parse(self, part: str) -> Element | None:
        if part not in self._members:
            return None
        parser = etree.XMLParser(resolve_entities=False, no_network=True, recover=True)
        return etree.fromstring(self.read(part), parser)
