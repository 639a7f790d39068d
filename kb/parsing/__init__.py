"""A file → its text with page and heading positions, in parts.

`parse_source` parses in this process, `ParserProcess` in a child that may crash, hang or run out of memory.
`media_types` names the module that reads each format. The modules are sorted by family; an arrow is an import:

    text, mail ──> web, office ──> tables
    pdf ──> images ──> layout ──> tables

Modules beside the families serve all of them and import none.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from kb.errors import N_, BlankFile, DamagedFile, DiskFull, KbError, NeedsMemory, NoText, is_disk_full
from kb.models import ParsedDocument
from kb.parsing.builder import Report, Source, joined, report_nothing
from kb.parsing.kinds import check, detect_media_type, extensions_like, is_same_kind, require_supported
from kb.parsing.media_types import SUPPORTED_EXTENSIONS, TEXT_PARSERS
from kb.parsing.memory import memory_limit_mb
from kb.parsing.process import Limits, ParserProcess

__all__ = [
    "SUPPORTED_EXTENSIONS",
    "Limits",
    "ParserProcess",
    "detect_media_type",
    "extensions_like",
    "is_same_kind",
    "joined",
    "parse_file",
    "parse_source",
    "require_supported",
]


def parse_file(path: Path, name: str, report: Report | None = None) -> ParsedDocument:
    """The whole document in the file at `path`, as one called `name` is read when it is uploaded."""
    return joined(parse_source(Source(path, name, detect_media_type(path, name), report or report_nothing)))


def parse_source(source: Source) -> Iterator[ParsedDocument]:
    """The parts of a document: pages, sections, or stretches of these. Raises only `KbError`, perhaps after a part."""
    try:
        parser = check(source)
        has_text = source.first_page > 1
        for part in import_module(f"kb.parsing.{parser}").parse(source):  # imports only the needed library
            has_text = has_text or bool(part.text)
            yield part
    except KbError:
        raise
    except MemoryError as error:
        raise NeedsMemory(name=source.name, limit=memory_limit_mb()) from error
    except RecursionError as error:
        raise DamagedFile(name=source.name, detail=N_("its content is nested too deeply")) from error
    except Exception as error:  # the libraries raise all kinds of exceptions for a broken file
        if isinstance(error, OSError) and is_disk_full(error):
            raise DiskFull(name=source.name) from error
        raise DamagedFile(name=source.name, detail=_describe(error)) from error
    if not has_text:
        raise BlankFile(name=source.name) if parser in TEXT_PARSERS else NoText(name=source.name)


def _describe(error: Exception) -> str:
    """What to tell the user about a library's exception, which becomes the cause of the `DamagedFile`."""
    if isinstance(error, (zipfile.BadZipFile, zlib.error)):
        return N_("its compressed data is corrupt")
    if "Excessive depth" in str(error):  # of lxml
        return N_("its content is nested too deeply")
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return N_("part of it is missing or invalid")
