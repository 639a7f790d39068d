"""Patterns that a program looks for. Whatever it sends, to find one match takes time linear in the text (RE2).

To find them all may take the square of that: `(?s)(.*x)?` looks for an x up to the end of the text at each character.
So whoever reads them looks at the clock between two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kb.errors import InvalidPattern

MOST_PATTERN_CHARACTERS = 500
_MEMORY_BYTES = 1 << 20  # of a compiled pattern; a larger one is refused


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern. Safe to use from several threads; other threads run meanwhile."""

    _compiled: Any

    @classmethod
    def of(cls, text: str, is_regex: bool = False, is_case_sensitive: bool = False) -> Pattern:
        """A regular expression in RE2's syntax, where ^ and $ also match at lines; or words as they are.

        Any white space between words matches any other: where a line ends depends on how a file was parsed.
        Errors: `InvalidPattern`.
        """
        import re2  # 10 MB that most processes never need

        words = text.split()
        if not words:
            raise InvalidPattern(detail="it is empty")
        if len(text) > MOST_PATTERN_CHARACTERS:
            raise InvalidPattern(detail=f"it has more than {MOST_PATTERN_CHARACTERS} characters")
        options = re2.Options()
        options.max_mem = _MEMORY_BYTES
        options.log_errors = False
        options.case_sensitive = is_case_sensitive
        expression = f"(?m){text}" if is_regex else r"\s+".join(re2.escape(word) for word in words)
        try:
            return cls(re2.compile(expression, options))
        except re2.error as error:
            reason = error.args[0] if error.args else b""
            detail = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
            raise InvalidPattern(detail=detail) from error

    def spans(self, text: str, first: int = 0) -> Iterator[tuple[int, int]]:
        """Where it matches from `first` on, in order and without overlaps. Matches of nothing, as of `x*`, included."""
        for match in self._compiled.finditer(text, first):
            yield match.span()
