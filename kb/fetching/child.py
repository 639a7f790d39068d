"""The process that reads fetched pages: `python -m kb.fetching.child <parent's pid> <memory limit in MB>`."""

from __future__ import annotations

from collections.abc import Iterator

from kb.errors import N_, PageBroken, PageWithoutText
from kb.fetching.main_text import main_text
from kb.models import ParsedDocument
from kb.parsing.builder import Source
from kb.parsing.child import serve


def read_page(source: Source) -> Iterator[ParsedDocument]:
    """The main text of the page in a file. The source's name is its address; its media type may have a charset."""
    media_type, _, charset = source.media_type.partition(";")
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


if __name__ == "__main__":
    serve(read_page, preload="trafilatura")
