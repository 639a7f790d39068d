"""What an answer says where nothing was found, as the pages say it."""

from __future__ import annotations

from kb.errors import N_, from_code
from kb.languages import Language
from kb.models import Retrieval
from kb.prompts import tell_unread
from pages.ui.i18n import error_text, join_sentences, ngettext, translate

NOTHING_RELEVANT = N_("Nothing relevant to this question was found in the knowledge base.")
NOTHING_READY = N_("No document of this knowledge base is ready yet.")
NOT_SEARCHED = N_("“{name}” could not be searched, so what it says is missing here.")
SOME_UNSEARCHABLE = N_("Some documents could not be searched: Milvus does not have all their text.")


def tell_absence(found: Retrieval, language: Language) -> str:
    """Why there is no answer: what could not be read or searched, else that nothing relevant is there."""
    code = language.value
    sentences = [tell_unread(each, language) for each in found.unread]
    if found.unsearchable:
        sentences.append(_unsearchable(found.unsearchable.documents, code))
    for failed in found.not_searched:
        home = translate(NOT_SEARCHED, code).format(name=failed.knowledge_base)
        sentences += [home, *error_text(from_code(failed.code, failed.values), code)]
    if not sentences:
        sentences.append(translate(NOTHING_RELEVANT if found.trace.documents else NOTHING_READY, code))
    return join_sentences(*sentences)


def _unsearchable(documents: int, code: str) -> str:
    if not documents:
        return translate(SOME_UNSEARCHABLE, code)
    return ngettext(
        "{count} document could not be searched: Milvus does not have all its text.",
        "{count} documents could not be searched: Milvus does not have all their text.",
        documents,
        code,
    )
