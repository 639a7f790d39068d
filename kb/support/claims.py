"""What a sentence claims, figures and names, as far as its sources do not say it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from kb.lexical import script_share
from kb.support.figures import Figure, read_figures
from kb.support.sources import LEAST_SHARE, Sources

# --- figures ---------------------------------------------------------------------------------------------------

# Numbers that count what the answer itself lists: 三个方面, two ways.
_ENUMERATED = re.compile(
    r"\s?(?:[个种点类项条步层大方]\s?)?(?:方面|原因|步骤|部分|要点|条件|情况|方式|方法|阶段|类别|类型|选项|问题|原则|因素|特点|目的|例子|结论|建议|点|种|类|大类|步"
    r"|ways?\b|steps?\b|reasons?\b|points?\b|parts?\b|types?\b|kinds?\b|categories\b|options?\b|methods?\b|aspects?\b"
    r"|things?\b|items?\b|conditions?\b|factors?\b|cases?\b|examples?\b|(?:main|key|different|important|following|major)\b)",
    re.IGNORECASE,
)
_NUMBERED = re.compile(
    r"(?:第|步骤|方法|方案|方式|选项|阶段|图|表|资料"
    r"|\b(?:step|option|method|point|part|table|figure|phase|stage|item|passages?|sources?)|=)\s?$",
    re.IGNORECASE,
)
_CENTURY = re.compile(r"\s?(?:世纪|centur)", re.IGNORECASE)
_FROM_YEAR = re.compile(r"\d{4}\s?[-/]\s?$")  # 2019-20
_COUNTING = frozenset(["次", "times", "人", "名", "位", "people", "persons", "person"])
_SMALL = 10
_DIGITS = re.compile(r"\d+(?:[.,]\d+)*")


def missing_figures(text: str, sources: Sources) -> Iterator[str]:
    in_digits = set(_DIGITS.findall(text))
    for figure in read_figures(text):
        if isinstance(figure, Figure) and not _is_claim(figure, in_digits):
            continue
        if not sources.hold_figure(figure):
            yield figure.text


def _is_claim(figure: Figure, in_digits: Collection[str]) -> bool:
    """Whether a number says something about the world: it counts nothing that the answer lists, and numbers no step."""
    if _NUMBERED.search(figure.before) or _CENTURY.match(figure.after):
        return False
    written = _DIGITS.match(figure.text)
    is_in_words = written is None or written[0] not in in_digits
    if figure.unit and figure.unit not in _COUNTING:
        return not is_in_words or figure.value > 1  # 前一天
    if figure.value <= 1 or (_FROM_YEAR.search(figure.before) and figure.value < 100):
        return False
    if figure.value > _SMALL or figure.value != int(figure.value):
        return True
    # Both companies are “two companies”, whether the passages say so or not.
    return not is_in_words and not (not figure.unit and _ENUMERATED.match(figure.after))


_CODE = re.compile(r"(?<!`)`([^`\s]{2,80})`(?!`)")
_QUOTED = re.compile(r"“([^“”]{2,200})”|\"([^\"]{2,200})\"|「([^「」]{2,200})」|『([^『』]{2,200})』")
_TITLE = re.compile(r"《([^《》]{2,100})》")
_URL = re.compile(
    r"(?:https?://|www\.)[^\s<>()（）\"“”'，。；、）\u3400-\u9fff]+"
    r"|(?<![\w.+-])[\w.+-]{1,64}@[A-Za-z\d-]+(?:\.[A-Za-z\d-]+)+"
)
_LETTER = "A-Za-z\u00c0-\u024f\u1e00-\u1eff"
_WORD = re.compile(rf"[{_LETTER}0-9][{_LETTER}0-9_]*(?:[-./'&+@][{_LETTER}0-9_]+)*(?:\+\+|\#)?")
_HAN = re.compile(r"[\u3400-\u9fff]")
_ORGANISATION = re.compile(
    r"([\u3400-\u9fff]{2})(?=有限公司|股份|公司|大学|学院|集团|银行|医院|研究所|研究院|出版社|基金会|委员会)"
)
_NO_NAME = frozenset(
    "的该本此各某这那家个所在于由和与及或等是有为了对向从被把将其他她它们我你您大小总分子母新老每名位属股份有限责任"
)


# Words with a capital letter that name nothing a passage has to hold.
_EVERYDAY_WORDS = """
    i ok yes no note tip please mr mrs ms dr english chinese german french spanish japanese korean monday tuesday
    wednesday thursday friday saturday sunday january february march april may june july august september october
    november december am pm ai it pdf app url id faq html csv json markdown word excel email web etc eg ie e.g i.e
    vs usd cny rmb eur gbp kb mb gb tb vip q1 q2 q3 q4"""
_EVERYDAY = frozenset(_EVERYDAY_WORDS.split())
_BESIDE_HAN = re.compile(r"[\u3400-\u9fff]\s?[(（]\s?$")
# Words that say what kind of thing a name is.
_GENERIC_WORDS = """
    inc corp corporation company ltd limited llc gmbh university college institute department team group policy plan
    guide manual handbook section chapter article act agreement contract report office centre center committee board
    council ministry bank hospital school society association foundation project program programme system service
    platform server version edition model series table figure appendix street road city county province state"""
_GENERIC = frozenset(_GENERIC_WORDS.split())
_SENTENCE_OPENERS = re.compile(r"(?:^|[:：;；(（“\"「|。!?！？]|\.\s|\s[-–—]\s)[\s*\"“‘'(]*$")


def missing_names(text: str, sources: Sources) -> Iterator[str]:
    is_han = script_share(text, "han") >= 0.3
    for found in _URL.finditer(text):
        if not sources.hold_text(address := found[0].rstrip(".,;:!?")):
            yield address
    rest = _URL.sub(" ", text)
    for code in _CODE.findall(rest):
        if not sources.hold_text(code) and not sources.hold_words(code, 1.0):
            yield code
    rest = _CODE.sub(" ", rest)
    for quoted in (*_TITLE.findall(rest), *map("".join, _QUOTED.findall(rest))):
        if not _holds_quotation(quoted, sources):
            yield quoted
    if sources.latin >= LEAST_SHARE or is_han:
        yield from _missing_latin(rest, sources, is_han)
    if sources.han >= LEAST_SHARE:
        for match in _ORGANISATION.finditer(rest):
            name = match[1]
            if _NO_NAME.isdisjoint(name) and not sources.hold_text(name):
                yield name


def _holds_quotation(quoted: str, sources: Sources) -> bool:
    """Whether a quotation or title stands in the sources, or most of it.

    Those in a script that the sources are not in may be translated; so may short ones be mere emphasis.
    """
    # “不让一个孩子掉队 (No Child Left Behind)”
    if sources.han < LEAST_SHARE and script_share(quoted, "latin"):
        quoted = _HAN.sub(" ", quoted)
    elif sources.latin < LEAST_SHARE and script_share(quoted, "han"):
        quoted = _WORD.sub(" ", quoted)
    is_han = script_share(quoted, "han") >= 0.5
    if (sources.han if is_han else sources.latin) < LEAST_SHARE:
        return True
    if is_han and len(_HAN.findall(quoted)) < 4:
        return True  # 所谓“双保险”
    if not is_han and len(quoted.split()) < 2 and not quoted[:1].isupper():
        return True
    pieces = [piece for piece in re.split(r"…+|\.{3}|\[[^\]]*\]", quoted) if piece.strip()]
    return all(map(sources.hold_text, pieces)) or sources.hold_words(quoted, 0.5)


_TITLE_SHARE = 0.7  # of capitalised words in a line that has its words in capitals, as headings do


def _missing_latin(text: str, sources: Sources, is_han: bool) -> Iterator[str]:
    """Names, acronyms and codes in Latin letters. Words in capitals that stand together are one name."""
    words = list(_WORD.finditer(text))
    names = [word for word in words if word[0][0].isupper() and word[0].isalpha()]
    is_title = not is_han and len(names) >= 3 and len(names) >= _TITLE_SHARE * sum(word[0].isalpha() for word in words)
    group: list[re.Match[str]] = []
    for word in [*words, None]:
        if group and (word is None or not text[group[-1].end() : word.start()].isspace() or not _is_name(word[0])):
            if name := _missing_name(text, group, sources, is_han, is_title):
                yield name
            group = []
        if word is not None and _is_name(word[0]):
            group.append(word)


def _is_name(word: str) -> bool:
    """Whether a word is a name, an acronym or a code by its letters."""
    if re.fullmatch(r"\d[\d.,/:-]*(?:[A-Za-z]{0,4}|[a-z]+)", word):
        return False  # a number with its unit: 30-day, 16GB
    has_digit = any(map(str.isdigit, word))
    is_joined = "_" in word or bool(re.search(r"[a-z0-9][./@][a-z0-9]", word))
    return len(word) > 1 and (has_digit or is_joined or any(map(str.isupper, word)))


def _missing_name(text: str, group: Sequence[re.Match[str]], sources: Sources, is_han: bool, is_title: bool) -> str:
    """The name that `group` is, if the sources do not hold it; else empty."""
    first, last = group[0], group[-1]
    words = [word[0].removesuffix("'s").removesuffix("’s") for word in group]
    is_common = not is_han and len(words) == 1 and _is_capitalised(words[0])
    if is_common and (is_title or _SENTENCE_OPENERS.search(text, max(0, first.start() - 12), first.start())):
        return ""
    if is_han and sources.latin < 0.5 and _BESIDE_HAN.search(text[max(0, first.start() - 4) : first.start()]):
        return ""  # 人工智能（Artificial Intelligence）: the word beside it in another language
    if len(words) > 1 and sources.hold_acronym("".join(word[0] for word in words)):
        return ""
    missing = sum(not _holds_name(word, sources) for word in words if not (is_title and _is_capitalised(word)))
    return text[first.start() : last.end()] if missing * 3 > len(words) else ""


def _is_capitalised(word: str) -> bool:
    return word.isalpha() and word[1:].islower()


_LONGEST_ACRONYM = 8
_ENDINGS = re.compile(r"(?:ese|ians?|eans?|ans?|ish|ic|i|ers?|s)$")


def _holds_name(word: str, sources: Sources) -> bool:
    lower = word.lower()
    if lower in _EVERYDAY or lower in _GENERIC or len(lower) < 2:
        return True
    if len(word) >= 4 and sources.hold_text(word):
        return True
    if word.isalpha() and word[0].isupper():
        # China for Chinese
        stem = _ENDINGS.sub("", lower)
        if len(stem) >= 4 and stem != lower and sources.hold_text(stem):
            return True
        if word.isupper() and len(word) <= _LONGEST_ACRONYM and sources.hold_acronym(lower):
            return True
    return sources.hold_words(word, 1.0)
