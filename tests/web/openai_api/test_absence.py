"""What an answer says where nothing was found."""

from __future__ import annotations

import pytest

from kb.languages import Language
from kb.models import NotSearched, Retrieval, Step, Trace, Unread, Unsearchable
from web.openai_api.absence import tell_absence

SEARCHED = Trace(steps=(Step("dense", remaining=3),))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Retrieval(trace=SEARCHED), "Nothing relevant to this question was found in the knowledge base."),
        (Retrieval(), "No document of this knowledge base is ready yet."),
        (
            Retrieval(trace=SEARCHED, unsearchable=Unsearchable(2)),
            "2 documents could not be searched: Milvus does not have all their text.",
        ),
        (
            Retrieval(trace=SEARCHED, unsearchable=Unsearchable()),
            "Some documents could not be searched: Milvus does not have all their text.",
        ),
        (
            Retrieval(trace=SEARCHED, unread=(Unread("a.pdf", "failed"),)),
            "The file “a.pdf” is in the knowledge base, but it could not be read.",
        ),
    ],
)
def test_why_there_is_no_answer(found: Retrieval, expected: str) -> None:
    assert tell_absence(found, Language.ENGLISH) == expected


def test_what_could_not_be_searched_is_never_nothing_relevant() -> None:
    failed = NotSearched("Fruit", "milvus_unavailable", {"detail": "timeout"})
    text = tell_absence(Retrieval(trace=SEARCHED, not_searched=(failed,)), Language.SIMPLIFIED)
    assert "“Fruit”" in text
    assert "Milvus" in text
    assert "没有找到" not in text
