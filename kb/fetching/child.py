"""The process that reads fetched pages: `python -m kb.fetching.child <parent's pid> <memory limit in MB>`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kb.errors import N_, FileTooLarge, KbError, NeedsMemory, NoText, PageBroken, PageWithoutText, PasswordProtected
from kb.fetching.main_text import main_text
from kb.models import ParsedDocument
from kb.parsing import parse_source
from kb.parsing.builder import Source
from kb.parsing.child import serve
from kb.parsing.media_types import PDF

_MOST_CHARACTERS = 200_000  # of a PDF; no more of it is searched


def read_page(source: Source) -> Iterator[ParsedDocument]:
    """The main text of the page in a file. The source's name is its address; its media type may have a charset."""
    media_type, _, charset = source.media_type.partition(";")
    if media_type == PDF:
        yield from _read_pdf(source)
        return
    try:
        document = main_text(source.path.read_bytes(), media_type, charset)
    except MemoryError:
        raise
    except RecursionError as error:
        raise PageBroken(address=source.name, detail=N_("its content is nested too deeply")) from error
    except Exception as error:  # the libraries raise all kinds of exceptions for a broken page
        raise PageBroken(address=source.name, detail=N_("part of it is missing or invalid")) from error
    if not document.text.strip():
        raise PageWithoutText(address=source.name)
    yield document


def _read_pdf(source: Source) -> Iterator[ParsedDocument]:
    """The first pages of a PDF. Images are not read: recognising one page's takes as long as reading all pages may."""
    size = 0
    try:
        for part in parse_source(replace(source, media_type=PDF, reads_images=False)):
            yield part
            size += len(part.text)
            if size > _MOST_CHARACTERS:
                return
    except NoText as error:
        raise PageWithoutText(address=source.name) from error
    except PasswordProtected as error:
        raise PageBroken(address=source.name, detail=N_("it is password-protected")) from error
    except (FileTooLarge, NeedsMemory):
        raise
    except KbError as error:
        raise PageBroken(address=source.name, detail=N_("part of it is missing or invalid")) from error


if __name__ == "__main__":
    serve(read_page, preload="trafilatura")
