"""How much work a file is, told before it is read. Small files are ingested first, and never wait for large ones."""

from __future__ import annotations

from kb.parsing.media_types import (
    BINARY_EXCEL,
    EPUB,
    EXCEL,
    OLD_EXCEL,
    OPEN_SHEETS,
    PARSERS,
    PICTURES,
    TEXT_PARSERS,
)

# From this effort on, a file is large: with a built-in model on two cores, it takes about a minute.
LARGE = 1_000
# Of a file that was taken for a small one, once it has shown that it is not.
LARGE_SECONDS = 10.0

_PICTURE = 50  # recognising a dense page takes as long as embedding so many chunks
_TEXT_BYTES = 700
_SHEET_BYTES = 1_000  # compressed, with little but numbers and text
_OTHER_BYTES = 5_000  # of files that consist of pictures for a large part
_SHEETS = (EXCEL, BINARY_EXCEL, OLD_EXCEL, OPEN_SHEETS, EPUB)
_MAX = 2**31 - 1


def effort_of(media_type: str, size_bytes: int) -> int:
    """About how many chunks could be embedded while the file is ingested; a guess, except for plain text."""
    if media_type in PICTURES:
        return _PICTURE
    if PARSERS.get(media_type) in TEXT_PARSERS or not media_type:
        chunk_bytes = _TEXT_BYTES
    elif media_type in _SHEETS:
        chunk_bytes = _SHEET_BYTES
    else:
        chunk_bytes = _OTHER_BYTES
    return min(1 + size_bytes // chunk_bytes, _MAX)
