"""Word 97–2003 (.doc): converted to .docx, which is then read like any other."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from doc2docx import convert
from doc2docx.errors import Doc2DocxError, EncryptedDocumentError

from kb.errors import N_, DamagedFile, PasswordProtected
from kb.models import ParsedDocument
from kb.parsing.builder import Source
from kb.parsing.office import docx


def parse(source: Source) -> Iterator[ParsedDocument]:
    with tempfile.TemporaryDirectory(prefix="zhiwen-") as folder:
        converted = Path(folder) / "converted.docx"
        try:
            convert(source.path, converted)
        except EncryptedDocumentError as error:
            raise PasswordProtected(name=source.name) from error
        except Doc2DocxError as error:
            raise DamagedFile(name=source.name, detail=N_("part of it is missing or invalid")) from error
        yield from docx.parse(replace(source, path=converted))
