"""Text in pieces → the same in whole characters."""

from __future__ import annotations


class Characters:
    """Joins characters that a server cut in two, as those do whose strings are of UTF-16.

    NUL is left out and a half without the other one is replaced: no store, page or terminal takes them.
    """

    def __init__(self) -> None:
        self._half = ""

    def join(self, piece: str) -> str:
        """What is whole by now of the text with this piece."""
        piece = self._half + piece
        self._half = piece[-1] if piece and "\ud800" <= piece[-1] <= "\udbff" else ""
        piece = piece.removesuffix(self._half) if self._half else piece
        clean = piece if piece.isascii() else piece.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return clean.replace("\0", "")
