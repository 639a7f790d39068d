"""Subtitles (SubRip, WebVTT): what is said, sentence by sentence, each with the time when it begins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder, clean
from kb.parsing.decoding import decode

_TIME = re.compile(r"((?:\d{1,3}:)?\d{1,2}:\d{2})[.,]\d{1,3}\s*-->\s*(?:\d{1,3}:)?\d{1,2}:\d{2}[.,]\d{1,3}")
_VOICE = re.compile(r"<v(?:\.[^ >]{0,100})?\s([^<>]{1,100})>")
_MARKUP = re.compile(r"<[^<>\n]{0,200}>|\{\\[^{}\n]{0,200}\}")
_ENDS = re.compile(r"[.!?。！？…][\"'”’」』)）]*$")
_HAN_OR_KANA = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_LONGEST = 400  # characters; speech without sentences is parted after so many


def parse(source: Source) -> Iterator[ParsedDocument]:
    """Numbers, styles and settings are left out, and lines that roll up through several cues are read once."""
    builder = TextBuilder(source.name)
    time = said = ""
    for begin, text in _cues(clean(decode(source.path.read_bytes()))):
        if said and (_ENDS.search(said) or len(said) > _LONGEST or _VOICE_MARK in text):
            builder.add_clean(f"[{time}] {said}")
            yield from builder.full_parts()
            said = ""
        text = text.replace(_VOICE_MARK, "")
        if not said:
            time, said = begin, text
        else:
            is_close = _HAN_OR_KANA.match(said[-1]) and _HAN_OR_KANA.match(text)
            said += text if is_close else f" {text}"
    if said:
        builder.add_clean(f"[{time}] {said}" if time else said)
    yield from builder.last_parts()


_VOICE_MARK = "\x01"  # before the words of a named speaker


def _cues(text: str) -> Iterator[tuple[str, str]]:
    """When each cue begins, and its text."""
    before: list[str] = []
    blocks = re.split(r"\n[ \t]*\n", text)
    if not _TIME.search(text):  # no subtitles after all
        yield "", text.strip()
        return
    for block in blocks:
        lines = block.strip("\n").split("\n")
        at = next((index for index, line in enumerate(lines[:2]) if _TIME.match(line.lstrip())), None)
        if at is None:
            continue
        match = _TIME.match(lines[at].lstrip())
        assert match
        said = [_plain(line) for line in lines[at + 1 :]]
        new = [line for line in said if line and line not in before]
        before = said
        if new:
            yield match.group(1), " ".join(new)


def _plain(line: str) -> str:
    """A line without its styles, behind a mark where it names who speaks."""
    return " ".join(unescape(_MARKUP.sub("", _VOICE.sub(rf"{_VOICE_MARK}\1: ", line))).split())
