"""A file → its text with page and heading positions.

`parse_file` parses in this process, `ParserProcess` in a child that may crash, hang or run out of memory.
"""

from __future__ import annotations

import zipfile
import zlib
from importlib import import_module
from pathlib import Path

from kb.errors import N_, BlankFile, DamagedFile, FileTooLarge, KbError, NoText
from kb.models import ParsedDocument
from kb.parsing.builder import Report, Source, report_nothing
from kb.parsing.kinds import PARSERS, check, extension_of
from kb.parsing.process import ParserProcess

__all__ = ["SUPPORTED_EXTENSIONS", "ParserProcess", "parse_file"]

SUPPORTED_EXTENSIONS: tuple[str, ...] = tuple(PARSERS)
TEXT_PARSERS = ("plain", "markdown", "html", "csv")  # for formats that cannot consist of images


def parse_file(path: Path, name: str, report: Report | None = None) -> ParsedDocument:
    """Parse the file at `path`. `name` is the user's label and decides the format; raises only `KbError`."""
    source = Source(path, name, report or report_nothing)
    try:
        document = _parse(source)
    except KbError:
        raise
    except MemoryError as error:
        raise FileTooLarge(name=name, size=N_("too large for memory"), limit=N_("the memory for parsing")) from error
    except RecursionError as error:
        raise DamagedFile(name=name, detail=N_("its content is nested too deeply")) from error
    except Exception as error:  # the libraries raise all kinds of exceptions for a broken file
        raise DamagedFile(name=name, detail=_describe(error)) from error
    if not document.text:
        raise BlankFile(name=name) if PARSERS[extension_of(name)] in TEXT_PARSERS else NoText(name=name)
    return document


def _parse(source: Source) -> ParsedDocument:
    module = import_module(f"kb.parsing.{check(source)}")  # imports only the needed library
    document: ParsedDocument = module.parse(source)
    return document


def _describe(error: Exception) -> str:
    """What to tell the user about a library's exception, which becomes the cause of the `DamagedFile`."""
    if isinstance(error, (zipfile.BadZipFile, zlib.error)):
        return N_("its compressed data is corrupt")
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return N_("part of it is missing or invalid")
