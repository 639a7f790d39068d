"""Reasoning that a model writes inside its text."""

from __future__ import annotations

from collections.abc import Sequence

from kb.completions.pieces import Piece, Reasoning, TextPiece, TextWasReasoning

_OPENINGS = ("<think>", "<thinking>", "<thought>", "<reasoning>")
FENCE = "```"  # of code
_CLOSINGS = tuple(tag.replace("<", "</") for tag in _OPENINGS)


class Thoughts:
    """Separates `<think>…</think>` from the text around it, however the stream cuts it into pieces.

    A block counts at the start of the answer, and after another block. A closing tag without an opening one, which
    some chat templates cause, makes all text before it reasoning, unless it stands in code.
    """

    def __init__(self) -> None:
        self._held = ""  # may be the first part of a tag
        self._is_thinking = False
        self._may_open = True
        self._may_close = True
        self._is_fresh = True  # nothing but white space was given since the start or since the last tag
        # Of the text since the last line break, to know code when it comes: how it begins, and its backticks.
        self._line_start, self._backticks = "", 0
        self._in_fence = False

    def split(self, text: str) -> list[Piece]:
        """What can be told apart by now."""
        pieces: list[Piece] = []
        self._held += text
        while self._held and self._step(pieces):
            pass
        return pieces

    def end(self) -> list[Piece]:
        """What was held back, now that nothing follows."""
        pieces: list[Piece] = []
        held, self._held = self._held, ""
        self._give(pieces, held)
        return pieces

    def _step(self, pieces: list[Piece]) -> bool:
        """Take something off what is held; False if more has to come first."""
        if self._is_thinking:
            return self._until_tag(pieces, _CLOSINGS)
        if self._may_open and self._is_fresh:
            stripped = self._held.lstrip()
            if tag := _starts_with(stripped, _OPENINGS):
                self._held = stripped.removeprefix(tag)
                self._is_thinking, self._may_close = True, False
                return True
            if not stripped or any(tag.startswith(stripped) for tag in _OPENINGS):
                return False
        self._may_open = False
        if self._may_close:
            return self._until_tag(pieces, _CLOSINGS)
        held, self._held = self._held, ""
        self._give(pieces, held)
        return True

    def _until_tag(self, pieces: list[Piece], tags: tuple[str, ...]) -> bool:
        """Give all up to the next tag, and take the tag in; hold what may be the first part of one."""
        if "<" not in self._held:  # nearly every piece
            given, self._held = self._held, ""
            self._give(pieces, given)
            return False
        found = min(((self._held.find(tag), tag) for tag in tags if tag in self._held), default=None)
        if found is None:
            kept = max((size for tag in tags for size in range(len(tag)) if self._held.endswith(tag[:size])), default=0)
            given, self._held = self._held[: len(self._held) - kept], self._held[len(self._held) - kept :]
            self._give(pieces, given)
            return False
        position, tag = found
        self._give(pieces, self._held[:position])
        self._held = self._held[position + len(tag) :]
        if not self._is_thinking and (self._in_fence or self._backticks % 2):
            self._give(pieces, tag)
            return True
        if not self._is_thinking:
            pieces.append(TextWasReasoning())
        self._is_thinking, self._may_open, self._may_close, self._is_fresh = False, True, False, True
        return True

    def _give(self, pieces: list[Piece], text: str) -> None:
        if self._is_fresh:
            text = text.lstrip("\r\n")
        if not text:
            return
        self._is_fresh = self._is_fresh and text.isspace()
        if self._is_thinking:
            pieces.append(Reasoning(text))
            return
        for line in text.splitlines(keepends=True):
            self._backticks += line.count("`")
            if len(self._line_start) < len(FENCE):
                self._line_start = (self._line_start + line).lstrip()[: len(FENCE)]
            if line.endswith("\n"):
                self._in_fence ^= self._line_start == FENCE
                self._line_start, self._backticks = "", 0
        pieces.append(TextPiece(text))


def _starts_with(text: str, tags: Sequence[str]) -> str:
    return next((tag for tag in tags if text.startswith(tag)), "")
