"""JSON, JSON Lines and XML: as written, but readable. Lists of records read like tables, a record a row."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder, clean
from kb.parsing.decoding import decode
from kb.parsing.media_types import JSON_LINES, XML
from kb.parsing.office.office_xml import office_parser
from kb.parsing.tables.rows import labelled_lines

_MAX_PARSED = 20_000_000  # characters; a larger file is read as written, because its values would fill the memory
_MAX_LABELS = 5_000  # of one record
_DEEPEST = 20
_LONG_LINE = 2_000  # characters; what has such lines was written for programs
_BATCH = 2_000  # records
_ESCAPE = re.compile(
    r"(?<!\\)((?:\\\\)*)\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})|(?<!\\)((?:\\\\)*)\\u([0-9a-f]{4})", re.IGNORECASE
)
_REFERENCE = re.compile(r"&#(?:x([0-9a-f]{2,6})|(\d{3,7}));", re.I)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{},]|[^\[\]{},"]+|"', re.DOTALL)
_BETWEEN_TAGS = re.compile(r">[ \t]*<(?!/)")
_DEEPEST_INDENT = 3


class _Literal(str):
    """A number as the file writes it: 1.10, or with more digits than a computer's numbers have."""


def parse(source: Source) -> Iterator[ParsedDocument]:
    builder = TextBuilder(source.name)
    text = decode(source.path.read_bytes()).strip()
    if source.media_type == XML and (parse_office := office_parser(text)):
        yield from parse_office(source)
        return
    if source.media_type == XML:
        builder.add(_readable_xml(text))
    else:
        records = _lines_as_records(text) if source.media_type == JSON_LINES else _records(text)
        if records is None:
            builder.add(_readable_json(text))
        else:
            lines = (line for record in records for line in _record_lines(record))
            while batch := list(islice(lines, _BATCH)):
                builder.add_rows(batch)
                yield from builder.full_parts()
    yield from builder.last_parts()


def load_json(text: str) -> Any:
    """The value of a JSON text, its numbers as written. Errors: `ValueError`, `RecursionError`."""
    return json.loads(
        text, parse_float=_Literal, parse_int=_Literal, parse_constant=_Literal, object_pairs_hook=_with_all_pairs
    )


def _with_all_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, also where it has a name more than once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        times: Counter[str] = Counter()
        for name, value in pairs:
            times[name] += 1
            found[name if times[name] == 1 else f"{name} ({times[name]})"] = value
    return found


def _records(text: str) -> list[Any] | None:
    """The list of records that a JSON text is, or holds as its only long value; None if there is none."""
    if len(text) > _MAX_PARSED:
        return None
    try:
        value = load_json(text)
    except (ValueError, RecursionError):  # with comments, or not JSON at all
        return None
    if isinstance(value, dict):
        lists = [each for each in value.values() if isinstance(each, list)]
        if len(lists) != 1 or any(isinstance(each, dict) for each in value.values()):
            return None
        others = {key: each for key, each in value.items() if each is not lists[0]}
        value = [*([others] if others else []), *lists[0]]
        is_list = len(lists[0]) > 1 and all(isinstance(each, dict) for each in lists[0])
    else:
        is_list = isinstance(value, list) and len(value) > 1 and all(isinstance(each, dict) for each in value)
    return value if is_list else None


def _lines_as_records(text: str) -> Iterator[Any]:
    for line in text.split("\n"):
        if line.strip():
            try:
                record = load_json(line)
            except (ValueError, RecursionError):
                record = None
            yield record if isinstance(record, dict) else _ESCAPE.sub(_unescape, line)


def _record_lines(record: Any) -> Iterator[str]:
    """A record as a row, its values under their names."""
    if not isinstance(record, dict):
        yield clean(_scalar(record))
        return
    pairs = list(islice(_pairs(record, "", 0), _MAX_LABELS))
    yield from labelled_lines([label for label, _value in pairs], [" ".join(value.split()) for _label, value in pairs])


def _pairs(value: Any, label: str, depth: int) -> Iterator[tuple[str, str]]:
    """The values inside of `value`, each with its path: `address.city`, `items[2].sku`."""
    if depth > _DEEPEST or not isinstance(value, (dict, list)) or not value:
        yield label, clean(_scalar(value))
    elif isinstance(value, dict):
        for name, each in value.items():
            path = clean(f"{label}.{name}" if label else name)
            yield from _pairs(each, path, depth + 1)
    elif any(isinstance(each, (dict, list)) for each in value):
        for number, each in enumerate(value, start=1):
            yield from _pairs(each, f"{label}[{number}]", depth + 1)
    else:
        yield label, clean(", ".join(map(_scalar, value)))


def _scalar(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _readable_json(text: str) -> str:
    """Without escapes for letters, and with line breaks where it has none."""
    text = _ESCAPE.sub(_unescape, text)
    return "".join(_indented(text)) if _has_long_lines(text) else text


def _unescape(match: re.Match[str]) -> str:
    if match.group(2):
        pair = bytes.fromhex(match.group(2) + match.group(3))
        return match.group(1) + pair.decode("utf-16-be")
    char = chr(int(match.group(5), 16))
    return match.group() if char < "\xa0" or "\ud800" <= char <= "\udfff" else match.group(4) + char


def _indented(text: str) -> Iterator[str]:
    """Each member on a line of its own; numbers beside one another."""
    depth = 0
    before = ""
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token in "[{":
            depth += 1
            yield token + _line_end(depth)
        elif token in "]}":
            depth = max(0, depth - 1)
            yield _line_end(depth) + token
        elif token == ",":
            yield token + (_line_end(depth) if before[-1:] in ('"', "]", "}") else " ")
        else:
            token = token if token.startswith('"') else " ".join(token.split()).replace(":", ": ")
            yield token
        before = token


def _line_end(depth: int) -> str:
    return "\n" + "  " * min(depth, _DEEPEST_INDENT)


def _readable_xml(text: str) -> str:
    """Without references for letters, and with line breaks where it has none."""
    text = _REFERENCE.sub(_dereference, text)
    return _BETWEEN_TAGS.sub(">\n<", text) if _has_long_lines(text) else text


def _dereference(match: re.Match[str]) -> str:
    code = int(match.group(1), 16) if match.group(1) else int(match.group(2))
    is_letter = 0xA0 <= code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF
    return chr(code) if is_letter else match.group()


def _has_long_lines(text: str) -> bool:
    return any(len(line) > _LONG_LINE for line in text.split("\n"))
