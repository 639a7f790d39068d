"""How relevant a passage is to a question: 0 (nothing to do with it) to 1 (surely answers it). Pure functions.

The number means the same for every embedding model, pair of languages and length of question, so one threshold suits
all. It rests on two signs: how far the passage's cosine stands out (from those of texts that have nothing to do with
the question, and of the other hits), and the share of the question's terms that the passage holds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from kb import lexical
from kb.embedding import Vectors
from kb.models import Chunk
from kb.retrieval.reference import Reference
from kb.vectors import Hit

# A longer question is compared part by part, because no passage holds most of it: so many terms at a time. In a text of
# more than LONG terms, such as a pasted log, the question itself is the smaller part, and cosines say nothing of it.
WINDOW, WINDOW_OF_LONG, LONG = 12, 6, 60
LONG_TEXT = 2_000  # characters: models read about 512 tokens, so they do not even see the end
# From this place on, hits hardly answer a question; so many of them count by this share beside the reference texts.
TAIL_START, TAIL_LENGTH, TAIL_WEIGHT = 5, 45, 0.6
MOST_ALLOWANCE = 0.25  # spreads, for a small knowledge base
WITHOUT_TERMS = 0.5  # of the allowance: the best of a few unrelated passages mostly holds no term of the question
# What a lift of one spread and an overlap of 1 add to the relevance; chosen on three question sets so that a threshold
# of .5 keeps 97 % of a set's own questions.
LIFT_WEIGHT, OVERLAP_WEIGHT = 0.955, 0.372
# Overlap by itself: half of a question's terms are as much as a right passage usually holds, where cosines say nothing;
# where they say that a passage is far off, the overlap has to be large.
ALONE, AGAINST = 2.2, 0.6
# A question that names so few codes or dates asks for them, however long it is; their passage counts as if it held this
# share of the question.
FEW_CODES, SHARE_OF_CODE = 2, 0.25

# Terms such as `e4012`, `a1023_7`, `第3条`, `20240315` and `13800138000`, but neither 3_14 nor 19th: they mean exactly
# one thing.
_CODE = re.compile(r"[^\W\d_]\w*\d\w*|\d\w*[a-z]\d\w*|\w*\d\w*_\w+_\w+|\d{8,}")
_ORDINAL = re.compile("第")  # 第1个 and 第49届 stand in texts about anything


class Cosines:
    """What the cosines of one question mean. `hits` are those of the dense route."""

    def __init__(self, question: Vectors, reference: Reference, hits: Sequence[Hit]) -> None:
        self._unrelated = reference.unrelated(question)
        self._spread = reference.spread
        self._least = min((hit.score for hit in hits), default=0.0)
        tail = sorted((self.above(hit.chunk.text, hit.score) for hit in hits), reverse=True)[TAIL_START:]
        self._tail = TAIL_WEIGHT * sum(tail) / max(len(tail), TAIL_LENGTH)
        # The best of a few unrelated texts stands out less than the best of many, by about this many deviations.
        few = max(0.0, _expected_best(TAIL_START + TAIL_LENGTH) - _expected_best(len(hits)))
        self._allowance = min(few * reference.deviation, MOST_ALLOWANCE * reference.spread)

    def above(self, text: str, cosine: float) -> float:
        """How far `cosine` is above that of unrelated texts in the script of `text`."""
        return cosine - self._unrelated.of(text)

    def lift(self, text: str, cosine: float | None, *, holds_terms: bool) -> float:
        """How far `text` stands out, in spreads. What the dense route did not find gets the last cosine that it did.

        `holds_terms`: whether any term of the question stands in it.
        """
        above = self.above(text, self._least if cosine is None else cosine)
        allowance = self._allowance * (1 if holds_terms else WITHOUT_TERMS)
        return (above - self._tail + allowance) / self._spread


def _expected_best(count: int) -> float:
    """About how many deviations the largest of `count` normal values is above their mean."""
    return math.sqrt(2 * math.log(count)) if count > 1 else 0.0


class Relevance:
    """Compares one question with passages."""

    def __init__(self, question: str, cosines: Cosines | None = None) -> None:
        """Without `cosines`, they say nothing about this question."""
        self._forms = lexical.question_forms(question)
        # Places among the forms.
        self._codes = [place for place, forms in enumerate(self._forms) if _CODE.fullmatch(forms[0])]
        self._sought = [place for place in self._codes if not _ORDINAL.match(self._forms[place][0])]
        self._is_long = len(self._forms) > LONG or len(question) > LONG_TEXT
        self._cosines = cosines

    def overlap(self, chunk: Chunk) -> float:
        """The share (0 to 1) of the question's terms that `chunk` holds; of a long question, that of its best part."""
        return self._share(self._held(chunk))

    def _held(self, chunk: Chunk) -> list[bool]:
        """Which of the question's forms `chunk` holds."""
        return lexical.held(self._forms, chunk.terms)

    def _share(self, held: Sequence[bool]) -> float:
        window = WINDOW_OF_LONG if self._is_long else WINDOW
        count = best = sum(held[:window])
        for leaving, coming in zip(held, held[window:], strict=False):
            count += coming - leaving
            best = max(best, count)
        return best / max(1, min(len(held), window))

    def of(self, chunk: Chunk, cosine: float | None) -> float:
        """The relevance of `chunk`; `cosine` is None if the dense route did not find it."""
        held = self._held(chunk)
        overlap = self._share(held)
        if len(self._sought) <= FEW_CODES and any(held[place] for place in self._sought):
            overlap = max(overlap, SHARE_OF_CODE)
        if self._cosines is None:
            found = ALONE * overlap
        else:
            lift = self._cosines.lift(chunk.text, cosine, holds_terms=overlap > 0)
            both = LIFT_WEIGHT * lift + OVERLAP_WEIGHT * overlap
            # Cosines say little of a code or date, so a passage with the one that is asked for need not stand out.
            says_little = self._is_long or self._holds_code(held)
            found = max(both, (ALONE if says_little else AGAINST) * overlap)
        return min(max(found, 0.0), 1.0) * self._without_codes(held)

    def coverage(self, chunk: Chunk) -> float:
        """How much (0 to 1) of what is asked for `chunk` names: all, if it has the code or date; else the overlap."""
        held = self._held(chunk)
        return 1.0 if self._holds_code(held) else self._share(held)

    def _holds_code(self, held: Sequence[bool]) -> bool:
        return any(held[place] for place in self._codes)

    def _without_codes(self, held: Sequence[bool]) -> float:
        """The share of the question that is left if it names codes, and the passage holds none of them; else 1.

        A code weighs twice as much as another term. A long text holds many that it does not ask for.
        """
        if not self._codes or len(self._forms) > WINDOW or self._holds_code(held):
            return 1.0
        return 1 - 2 * len(self._codes) / (len(self._forms) + len(self._codes))
