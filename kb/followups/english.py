"""English questions that go on from what was said before: pronouns without a noun, ellipsis, “and in 2024?”."""

from __future__ import annotations

import re
from collections.abc import Sequence


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_FUNCTION = _set(
    """a an the and or but so then also plus is are was were be been being am do does did done have has had can could
    will would shall should may might must i me my mine you your yours we us our ours what which who whom whose when
    where why how much many long often far old big soon in on at to for from with without of by about into onto over
    under after before during since until till per within between than as if whether not no yes any some all every
    each other others another such there here now ever still yet just only too very more most less least else again
    please really exactly ones one two three and/or well actually maybe perhaps don't doesn't didn't isn't aren't
    wasn't weren't can't couldn't won't what's who's where's how's it's that's there's i'm you're let's same it its
    they them their theirs he him his she her hers this that these those first second third last next previous
    former latter above up out off down get got make makes made give show tell say says said know think mean means
    meant anything anyone anybody something someone everything nothing"""
)
# Words that ask about something without naming it: one of them beside words without meaning makes no topic.
_GENERIC = _set(
    """apply applies work works cost costs take takes happen happens happened change changed changes differ use used
    need needs required require requires requirements requirement exception exceptions condition conditions step
    steps reason reasons difference differences example examples detail details info information limit limits option
    options alternative alternatives consequence consequences explain elaborate expand describe clarify repeat
    further deeper sure true right correct valid wrong allowed possible point part case thing things number numbers
    amount total source sources evidence calculate calculated start starts end ends expire expires deadline price
    instance compare compared comparison specific specifically precise go continue include included includes"""
)
_PRONOUNS = _set("it its they them their theirs he him his she her hers")
_POSSESSIVES = _set("its their his her")
_WH = _set("what which who whom whose when where why how")
_AUXILIARIES = _set("is are was were do does did")
_POINTERS = _set("this that these those")
# What a pointer can stand before without naming more than it does itself.
_POINTED = _GENERIC | _set(
    """policy product company rule project feature problem issue option topic question answer method approach person
    place value figure limit fee year month period one ones"""
)
_EXPLETIVE = _set(
    """take takes took cost costs mean means possible necessary allowed required legal illegal common easy hard
    difficult safe better best true important called determined okay ok normal advisable worth"""
)
_AFTER_EXPLETIVE = _set("to that if when whether for how before until")
_AFTER_CONJUNCTION = _PRONOUNS | _set("the a an i you we my your our")
_BEFORE_RELATIVE = _set("who whom which where with in")  # “those who”
_PREPOSITIONS = _set("""in for at on with without from by during after before under to about since until per within""")
_ASKING = _WH | _AUXILIARIES | _set("can could will would should may must have has had")
_ORDERS = _set("""explain tell give show say repeat elaborate expand clarify describe go more another again details""")
_WORD = re.compile(r"[^\W_]+(?:['’\-./][^\W_]+)*")
_REFERENCE = re.compile(
    r"(?:the|that|this) (?:first|second|third|fourth|last|next|previous|other) (?:one|ones|point|option|two|three)\b"
    r"|the (?:former|latter)(?:\s*[?.!]*$| ones?\b)|(?:is|does|do) the same (?:true|apply|for|hold)\b"
    # “Which one is cheaper?”, but not “Which one of the plans …” and “Which one is cheaper, A or B?”
    r"|^which (?:one|ones|of (?:them|these|those|the (?:two|three)))\b(?! of\b)(?!.*(?:,|\bor\b))"
    r"|(?:option|point|number|no\.?|item) \d\s*[?.!]*$"
)
_MOST_WORDS = 12


def goes_on(text: str) -> bool:
    """Whether a folded text in Latin letters goes on from what was said before."""
    words = [word.replace("’", "'") for word in _WORD.findall(text)]
    if not words or len(words) > _MOST_WORDS + 4:
        return False
    first = words[0]
    if first in ("and", "but", "or", "also", "plus") and len(words) <= _MOST_WORDS:
        return len(words) > 1
    if (first in ("so", "then") or words[:2] in (["what", "about"], ["how", "about"])) and len(words) <= 8:
        return len(words) > 1
    if _REFERENCE.search(text):
        return True
    is_known = [word in _FUNCTION or word[0].isdigit() for word in words]
    generic = sum(word in _GENERIC and not known for word, known in zip(words, is_known, strict=True))
    topics = [place for place, word in enumerate(words) if not is_known[place] and word not in _GENERIC]
    is_asked = "?" in text or first in _ORDERS or not _ASKING.isdisjoint(words)
    if not topics and generic <= 2 and is_asked:
        return True
    if first in _PREPOSITIONS and len(words) <= 5 and text.endswith("?") and _ASKING.isdisjoint(words):
        return True
    return any(
        _is_open_pronoun(words, place, [topic for topic in topics if topic < place])
        for place, word in enumerate(words)
        if word in _PRONOUNS or word in _POINTERS
    )


def _is_open_pronoun(words: Sequence[str], place: int, topics_before: Sequence[int]) -> bool:
    """Whether nothing in the question is what its pronoun stands for."""
    word, after = words[place], words[place + 1 :]
    if word in _POINTERS:
        if after and (after[0] in _BEFORE_RELATIVE or not (after[0] in _FUNCTION or after[0] in _POINTED)):
            return False
        if word == "that" and (topics_before or (after and after[0] in _AFTER_CONJUNCTION)):
            return False
    if word == "it" and any(
        other in _EXPLETIVE and not _AFTER_EXPLETIVE.isdisjoint(after[index + 1 :]) for index, other in enumerate(after)
    ):
        return False
    if any(other in _WH and not set(after[index + 1 :]) <= _FUNCTION for index, other in enumerate(after)):
        return False  # “Besides his poems, what is Goethe known for?”
    if words[0] in ("who", "which") and word in _POSSESSIVES and words[1] not in _AUXILIARIES:
        return False  # “Who may choose their own schedule?”
    if not topics_before:
        return True
    # “Who invented it?”: a verb is no topic. A noun has an article.
    is_verb = len(topics_before) == 1 and words[topics_before[0] - 1] not in (
        "the",
        "a",
        "an",
        "of",
        "is",
        "are",
        "was",
    )
    return is_verb and word in ("it", "them", "him", "her") and len(words) <= 7 and len(after) <= 2
