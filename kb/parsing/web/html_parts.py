"""Which elements of a page people read: not what surrounds its article, and not what the page hides for good."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from bs4 import BeautifulSoup, Tag
from bs4.element import NavigableString, PageElement

# fmt: off
BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "dir", "div",
    "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hgroup", "hr", "html", "legend", "li",
    "main", "menu", "noframes", "ol", "p", "pre", "section", "summary", "table", "tbody", "td", "tfoot", "th", "thead",
    "tr", "ul",
))
# fmt: on
# Around an article: what the page repeats on every page of its site, or asks of its readers.
_AROUND = ("header", "footer", "aside")
_ROLES_AROUND = ("banner", "contentinfo", "complementary", "search", "dialog", "alertdialog", "menu", "menubar")
_NAMES_AROUND = re.compile(
    r"(?:^|[\s_-])(?:cookies?|consent|gdpr|breadcrumbs?|sidebar|side-bar|newsletter|social|share|sharing|popup|modal|"
    r"navbar|navigation|site-?(?:header|footer|nav)|page-?footer|skip[\w-]*|related|advert(?:isement)?s?|promo)(?:$|[\s_-])",
    re.IGNORECASE,
)
_CONSENT = re.compile(r"cookie|consent|gdpr", re.IGNORECASE)
_MOSTLY = 0.3  # of a page's text; what else there is may be long menus
_UNSEEN = ("head", "script", "style", "template", "noscript", "nav")
_EARLY = 200  # elements and texts
_MAX_CONSENT = 2_000  # characters
_MAX_AROUND = 600  # characters outside of links; what says more is no furniture
_FORMULA_TWINS = frozenset(("katex-html", "MathJax_Preview", "MJX_Assistive_MathML", "mwe-math-fallback-image-inline"))
_SHOWN_FORMULAS = frozenset(("mjx-chtml", "MathJax_CHTML", "MathJax_SVG"))
# Names of what a click opens: answers to questions, panels of tabs.
_OPENS = re.compile(
    r"(?:^|[\s_-])(?:accordions?|collaps\w*|tabs?|tab-?\w*|panels?|faqs?|answers?|toggle\w*|expand\w*|spoiler\w*|"
    r"details|dropdown-?content|read-?more)(?:$|[\s_-])",
    re.IGNORECASE,
)
_POINTERS = ("aria-controls", "data-target", "data-bs-target")
_LINE_NUMBERS = re.compile(
    r"(?:^|\s)(?:line-?numbers?(?:-rows)?|line-?nos?|ln|lnt|gutter|hljs-ln-n(?:umbers)?|[\w-]*gutter|blob-num|ln-num)(?:$|\s)",
    re.IGNORECASE,
)
_PERMALINK = re.compile(r"head(?:er|ing)-?link|permalink|anchor|hash-?link", re.IGNORECASE)
_PERMALINK_MARKS = frozenset(("", "¶", "#", "§", "🔗", "\uf0c1", "link"))


def classes(tag: Tag) -> Sequence[str]:
    found = tag.get("class") or ()
    return (found,) if isinstance(found, str) else list(found)


def first_text(tag: Tag) -> str:
    """The first text inside of an element that is not blank, unless much else stands before it."""
    stack: list[PageElement] = [tag]
    for _ in range(_EARLY):
        if not stack:
            break
        node = stack.pop()
        if isinstance(node, Tag):
            stack.extend(reversed(node.contents[:_EARLY]))
        elif type(node) is NavigableString and (text := node.strip()):
            return text
    return ""


def surroundings(soup: BeautifulSoup) -> set[int]:
    """The elements, by id(), that stand around the page's article; only banners for consent where there is none."""
    found = soup.find_all("main") or soup.find_all(role="main")
    articles = [article for article in found if first_text(article)]
    if not articles and _share_in_articles(soup) > _MOSTLY:
        articles = [article for article in soup.find_all("article") if first_text(article)]
    inside = {id(parent) for article in articles for parent in article.parents}
    of_articles = set(map(id, articles))
    around: set[int] = set()
    stack: list[PageElement] = [soup]
    while stack:
        node = stack.pop()
        if not isinstance(node, Tag) or id(node) in of_articles:
            continue
        if id(node) not in inside and (_is_banner(node) or (articles and _is_around(node))):
            around.add(id(node))
        else:
            stack.extend(node.contents)
    return around


def _share_in_articles(soup: BeautifulSoup) -> float:
    """Which part of the page's text stands in articles; teasers beside the text are articles, too."""
    stack: list[tuple[PageElement, bool]] = [(soup, False)]
    inside = everywhere = 0
    while stack:
        node, is_inside = stack.pop()
        if isinstance(node, Tag):
            if node.name not in _UNSEEN:
                stack += [(child, is_inside or node.name == "article") for child in node.contents]
        elif type(node) is NavigableString:
            length = len(node.strip())
            everywhere += length
            inside += length if is_inside else 0
    return inside / everywhere if everywhere else 0.0


def _is_banner(tag: Tag) -> bool:
    """Whether the element asks for consent to cookies."""
    return _is_named(tag, _CONSENT) and not tag.find("h1") and not _says_more_than(tag, _MAX_CONSENT, links=True)


def _is_around(tag: Tag) -> bool:
    if tag.name in _AROUND or tag.get("role") in _ROLES_AROUND:
        return not tag.find("h1") and (tag.name == "footer" or not _says_more_than(tag, _MAX_AROUND, links=False))
    return _is_named(tag, _NAMES_AROUND) and not _says_more_than(tag, _MAX_AROUND, links=False)


def _says_more_than(tag: Tag, limit: int, *, links: bool) -> bool:
    """Whether the element holds more than `limit` characters, with or without those in its `links`."""
    stack: list[PageElement] = [tag]
    said = 0
    while stack and said <= limit:
        node = stack.pop()
        if isinstance(node, Tag):
            if node.name not in _UNSEEN and (links or node.name not in ("a", "button", "nav")):
                stack.extend(node.contents)
        elif type(node) is NavigableString:
            said += len(node.strip())
    return said > limit


def _is_named(tag: Tag, names: re.Pattern[str]) -> bool:
    """Whether the element's id or one of its classes is among `names`; never the page itself."""
    if tag.name in ("html", "body", "main", "article"):
        return False
    return bool(names.search(_names(tag)))


def _names(tag: Tag) -> str:
    return " ".join([str(tag.get("id") or ""), *classes(tag)])


def opened_by_click(soup: BeautifulSoup) -> frozenset[str]:
    """The ids of the elements that a button or a tab of the page shows."""
    return frozenset(filter(None, _targets(soup)))


def _targets(soup: BeautifulSoup) -> Iterator[str]:
    for tag in soup.find_all(_points):
        for name in _POINTERS:
            yield from str(tag.get(name) or "").replace("#", " ").split()
        yield str(tag.get("href") or "")[1:]


def _points(tag: Tag) -> bool:
    is_control = tag.name == "a" and tag.get("role") in ("tab", "button")
    return is_control or any(name in tag.attrs for name in _POINTERS)


def is_hidden(tag: Tag, opened: frozenset[str]) -> bool:
    """Whether people never see the element. `opened`: the ids of what is hidden only until a click."""
    name = tag.name
    if name in ("html", "body"):  # shown by a script
        return False
    if tag.get("role") == "navigation" or is_permalink(tag) or _is_line_number(tag):
        return True
    if not _FORMULA_TWINS.isdisjoint(classes(tag)) or _is_shown_formula(tag):
        return True
    if name == "dialog" and not tag.has_attr("open"):
        return True
    styles = str(tag.get("style", "")).replace(" ", "").lower()
    if "display:none" not in styles and (not tag.has_attr("hidden") or tag["hidden"] == "until-found"):
        return False
    is_opened = tag.get("role") == "tabpanel" or str(tag.get("id", "")) in opened
    return not is_opened and not _OPENS.search(_names(tag))


def _is_shown_formula(tag: Tag) -> bool:
    """Whether MathJax 2 shows here what the script behind the element writes as TeX."""
    if _SHOWN_FORMULAS.isdisjoint(classes(tag)):
        return False
    script = next((each for each in islice(tag.next_siblings, 2) if isinstance(each, Tag)), None)
    return script is not None and str(script.get("type", "")).startswith("math/tex")


def opens_something(button: Tag) -> bool:
    """Whether a button is the title of what it opens, such as a question of a list."""
    return (
        button.get("role") == "tab"
        or any(button.has_attr(name) for name in ("aria-expanded", *_POINTERS))
        or bool(_OPENS.search(_names(button)))
        or button.get_text().rstrip().endswith(("?", "？"))
    )


def is_permalink(tag: Tag) -> bool:
    """Whether the element is the mark beside a heading that links to it."""
    if tag.name != "a" or not _PERMALINK.search(" ".join(classes(tag))):
        return False
    return tag.get_text(strip=True).lower() in _PERMALINK_MARKS


def _is_line_number(tag: Tag) -> bool:
    """Whether the element holds numbers of lines beside code."""
    if not _LINE_NUMBERS.search(" ".join(classes(tag))) or not re.fullmatch(r"[\d\s]*", tag.get_text()):
        return False
    return tag.find_parent(["pre", "code"]) is not None


def integer(value: object, default: int) -> int:
    text = str(value if value is not None else "").strip()
    return int(text) if re.fullmatch(r"-?\d{1,9}", text) else default
