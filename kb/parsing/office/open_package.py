"""The parts of an Open XML file (ECMA-376, part 2: Open Packaging Conventions), and where each points to."""

from __future__ import annotations

import posixpath
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Self

from lxml import etree

from kb.parsing.elements import Element


@dataclass(frozen=True, slots=True)
class Relation:
    """A pointer from one part to another: its id, the last word of its type, and the other part's path."""

    id: str
    kind: str
    part: str


class OpenPackage:
    """An open file; parts are called by their paths in small letters. Errors: those of `zipfile` and `lxml`."""

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path)
        self._members = {name.replace("\\", "/").lower(): name for name in self._archive.namelist()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def __contains__(self, part: str) -> bool:
        return part in self._members

    def open(self, part: str) -> IO[bytes]:
        return self._archive.open(self._members[part])

    def parse(self, part: str) -> Element:
        with self.open(part) as file:
            return etree.parse(file, etree.XMLParser(resolve_entities=False, no_network=True)).getroot()

    def parse_aside(self, part: str) -> Element:
        """A part that may be damaged without loss of the rest."""
        try:
            return self.parse(part)
        except (etree.XMLSyntaxError, zipfile.BadZipFile):
            return etree.Element("damaged")

    def main_part(self, usual: str) -> str:
        """The part that the others belong to, as the package says, else the `usual` one."""
        named = (each.part for each in self.relations("") if each.kind == "officeDocument")
        return next((part for part in named if part in self), usual)

    def relations(self, part: str) -> list[Relation]:
        """Where a part, or the whole package (""), points to."""
        path = PurePosixPath(part)
        listed = (path.parent / "_rels" / f"{path.name}.rels").as_posix()
        if listed not in self:
            return []
        found = []
        for each in self.parse(listed).iterchildren("{*}Relationship"):
            target = each.get("Target", "").replace("\\", "/")
            whole = posixpath.normpath(posixpath.join("/", path.parent, target))  # an absolute one replaces the folder
            found.append(
                Relation(each.get("Id", ""), each.get("Type", "").rpartition("/")[2], whole.lstrip("/").lower())
            )
        return found

    def parts_of(self, part: str, kind: str) -> list[str]:
        """The parts of a kind that a part points to, as far as the file has them."""
        return [each.part for each in self.relations(part) if each.kind == kind and each.part in self]
