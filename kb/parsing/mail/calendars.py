"""Invitations and calendars (iCalendar, RFC 5545): what, when, where and who, an event a section."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder
from kb.parsing.decoding import decode

_FOLDED = re.compile(r"\r?\n[ \t]")
_PROPERTY = re.compile(r"([A-Za-z-]{1,40})((?:;[^:;\"\n]{0,300}+(?:\"[^\"\n]{0,300}\"[^:;\"\n]{0,300}+)?){0,20}):(.*)")
_PARAMETER = re.compile(r';([A-Za-z-]{1,40})=(?:"([^"]*)"|([^;]*))')
_ESCAPED = re.compile(r"\\([nN\\,;])")
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)\d\d(Z?))?")
_EVENTS = ("VEVENT", "VTODO", "VJOURNAL")
_LABELS = {
    "DTSTART": "Start",
    "DTEND": "End",
    "DUE": "Due",
    "DURATION": "Duration",
    "RRULE": "Repeats",
    "LOCATION": "Where",
    "STATUS": "Status",
    "ORGANIZER": "Organizer",
    "ATTENDEE": "Attendee",
    "DESCRIPTION": "",
    "COMMENT": "",
}

Event = tuple[str, list[str]]  # its title, and the lines below


def parse(source: Source) -> Iterator[ParsedDocument]:
    builder = TextBuilder(source.name)
    for title, lines in read_events(decode(source.path.read_bytes())):
        builder.add_heading(1, title)
        builder.add("\n".join(lines))
        yield from builder.full_parts()
    yield from builder.last_parts()


def read_events(text: str) -> Iterator[Event]:
    """The events and tasks of a calendar, in order."""
    title = ""
    lines: list[str] = []
    inside: list[str] = []
    for line in _FOLDED.sub("", text).splitlines():
        match = _PROPERTY.fullmatch(line)
        name, value = (match[1].upper(), match[3].strip()) if match else ("", "")
        if name == "BEGIN":
            inside.append(value.upper())
        elif name == "END":
            if value.upper() in _EVENTS:
                yield title, lines
                title, lines = "", []
            inside = inside[:-1]
        elif match and value and inside[-1:] and inside[-1] in _EVENTS:
            if name == "SUMMARY":
                title = _unescaped(value)
            elif name in _LABELS:
                lines.append(_line(_LABELS[name], name, match[2], value))


def _line(label: str, name: str, parameters: str, value: str) -> str:
    found = {each[1].upper(): each[2] or each[3] for each in _PARAMETER.finditer(parameters)}
    if name in ("DTSTART", "DTEND", "DUE"):
        value = _TIME.sub(_readable, value) + (f" ({found['TZID']})" if "TZID" in found else "")
    elif name in ("ORGANIZER", "ATTENDEE"):
        address = re.sub("^mailto:", "", value, flags=re.IGNORECASE)
        value = f"{found['CN']} <{address}>" if found.get("CN", address) != address else address
    value = _unescaped(value)
    return f"{label}: {value}" if label else value


def _readable(time: re.Match[str]) -> str:
    day = f"{time[1]}-{time[2]}-{time[3]}"
    return day + (f" {time[4]}:{time[5]}" if time[4] else "") + (" UTC" if time[6] else "")


def _unescaped(value: str) -> str:
    return _ESCAPED.sub(lambda match: "\n" if match[1] in "nN" else match[1], value)
