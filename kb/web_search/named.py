"""The pages that a question names by their addresses: “Summarise https://example.org/page”, “www.a.org 讲了什么？”."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from kb.retrieval.overview_questions import asks_for_whole

# What ends an address: white space, quotes and brackets that no address holds as they are, Chinese punctuation.
_ENDS = '\\s<>"`^{}|\\\\，。；：！？、（）《》〈〉「」『』【】〔〕“”‘’…—～｜'
_ADDRESS = re.compile(rf"(?<![a-z0-9@_.])(?:https?://|www\.)[^{_ENDS}]{{1,2000}}", re.IGNORECASE)
_COMPLETE = re.compile(r"https?://[^/?#]+(?:[/?#].*)?|www\.[^./?#]+\.[^/?#]+(?:[/?#].*)?", re.IGNORECASE)
# “https://a.example,https://b.example” are two; https://archive.example/2024/https://b.example is one.
_NEXT = re.compile(r"(?<![/=?&])https?://", re.IGNORECASE)
_HAN = re.compile(r"[\u3400-\u9fff]+")
_BEFORE_HAN = frozenset("/=_-+#.·%")  # …/wiki/茶 is one address; behind …/page, the sentence goes on
_GOES_ON = re.compile(r"的|里|上的|中的")
_PUNCTUATION = ".,;:!?'*~&"
_PAIRS = {")": "(", "]": "["}
_PAGE_WORDS = re.compile(
    r"\b(?:web\s?)?(?:pages?|sites?|links?|urls?|address(?:es)?|posts?|read|open|visit)\b|[网網][页頁站址]|[页頁]面|[链鏈连連][接结結]|[阅閱][读讀]|并|並",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Naming:
    """The `addresses` that a question names, and the `rest` of it."""

    addresses: tuple[str, ...] = ()
    rest: str = ""

    @property
    def asks_for_whole(self) -> bool:
        """Whether the rest asks for the pages as a whole, or there is none."""
        return asks_for_whole(_PAGE_WORDS.sub(" ", self.rest))


def read_naming(question: str) -> Naming:
    """Find http and https addresses, and those that begin with `www.`, which get https. Takes linear time.

    What they lead to is not judged here: `kb.fetching` refuses what it does not load.
    """
    addresses: dict[str, None] = {}
    rest: list[str] = []
    position = 0
    while found := _ADDRESS.search(question, position):
        address = _trimmed(found[0])
        end = found.start() + len(address)
        if _COMPLETE.fullmatch(address):
            rest.append(question[position : found.start()])
            addresses[address if "://" in address else f"https://{address}"] = None
        else:
            end = max(end, found.start() + len("www."))
            rest.append(question[position:end])
        position = end
    rest.append(question[position:])
    return Naming(tuple(addresses), " ".join(" ".join(rest).split()))


def without_unknown(text: str, said: Iterable[str]) -> str:
    """`text` without the addresses that nothing of what was `said` names."""
    known = {address for each in said for address in read_naming(each).addresses}
    while unknown := [address for address in read_naming(text).addresses if address not in known]:
        for address in unknown:
            text = " ".join(text.replace(address, " ").replace(address.removeprefix("https://"), " ").split())
    return text


def _trimmed(found: str) -> str:
    """Without what belongs to the sentence around the address."""
    if following := _NEXT.search(found, 1):
        found = found[: following.start()]
    for run in _HAN.finditer(found):
        if found[run.start() - 1] not in _BEFORE_HAN or _GOES_ON.match(run[0]) or asks_for_whole(run[0]):
            found = found[: run.start()]
            break
    while found and (found[-1] in _PUNCTUATION or _is_alone(found)):
        found = found[:-1]
    return found


def _is_alone(found: str) -> bool:
    """Whether the last character is a closing bracket without its opening one."""
    closing = found[-1]
    return closing in _PAIRS and found.count(closing) > found.count(_PAIRS[closing])
