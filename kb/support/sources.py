"""The texts that a sentence may rest on, and what stands in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from kb import lexical
from kb.lexical import script_share
from kb.lexical.folding import fold
from kb.support.figures import Day, Figure, Figures

LEAST_SHARE = 0.5  # of a script in the passages, to look for names of that script in them
_NOT_WORD = re.compile(r"[\W_]+")
_CAPITALISED_RUN = re.compile(r"(?<![\w-])[A-Z][\w-]*+(?:\s+(?:(?:of|and|the|for|in|on|de)\s+)?[A-Z][\w-]*)+")


class Text:
    """A text, to look up in it."""

    def __init__(self, text: str) -> None:
        folded = fold(text)
        terms = lexical.analyze(text)
        self.terms = frozenset(terms)
        self.line = f" {' '.join(terms)} "
        self._compact = _NOT_WORD.sub("", folded).lower()
        self.figures = Figures(folded)
        self.acronyms = {
            "".join(word[0] for word in re.findall(r"[A-Z][\w-]*", run[0])).lower()
            for run in _CAPITALISED_RUN.finditer(folded)
        }
        self._held: dict[str, bool] = {}
        self.letters = sum(map(str.isalpha, folded))
        self.han = script_share(folded, "han")
        self.latin = script_share(folded, "latin")

    def holds_letters(self, compact: str) -> bool:
        if (held := self._held.get(compact)) is None:
            held = self._held[compact] = compact in self._compact
        return held


class Sources:
    """The texts that a sentence may rest on."""

    def __init__(self, texts: Sequence[Text], has_citation: bool) -> None:
        self._texts = texts
        self.has_citation = has_citation
        letters = sum(text.letters for text in texts) or 1
        self.han = sum(text.han * text.letters for text in texts) / letters
        self.latin = sum(text.latin * text.letters for text in texts) / letters

    def hold_figure(self, figure: Figure | Day) -> bool:
        return any(text.figures.holds(figure) for text in self._texts)

    def hold_form(self, forms: Sequence[str]) -> bool:
        """Whether one of these forms of a term stands in them: see `lexical.question_forms`."""
        return any(
            form in text.terms or (" " in form and f" {form} " in text.line) for text in self._texts for form in forms
        )

    def hold_text(self, name: str) -> bool:
        """Whether the letters and digits of `name` stand in them one after the other."""
        compact = _NOT_WORD.sub("", name).lower()
        return any(text.holds_letters(compact) for text in self._texts)

    def hold_words(self, text: str, share: float) -> bool:
        """Whether they hold so much of the words of `text`."""
        forms = _forms(text)
        return not forms or sum(map(self.hold_form, forms)) >= share * len(forms)

    def hold_acronym(self, letters: str) -> bool:
        return any(letters.lower() in text.acronyms for text in self._texts)


@lru_cache(maxsize=8192)
def _forms(text: str) -> tuple[tuple[str, ...], ...]:
    return lexical.question_forms(text)
