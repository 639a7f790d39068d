"""Source code and configuration as written; definitions of functions and classes, and sections, are headings.

So a chunk begins where a function does, with the comments above it, and names the class that it is in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kb.models import ParsedDocument
from kb.parsing.builder import Source, TextBuilder, clean
from kb.parsing.decoding import decode
from kb.parsing.media_types import CODE

_LONGEST_LINE = 400  # characters; a longer one is data, or was minified
_LONGEST_TITLE = 100
_SIGNATURE_LINES = 8
_LONGEST_SIGNATURE = 500
_MAX_CHARACTERS = 20_000_000  # a larger file gets no headings
_DEEPEST = 6
_MODIFIERS = (
    r"(?:(?:export|default|declare|public|protected|private|internal|static|final|abstract|sealed|partial|open|data|"
    r"inline|override|virtual|async|unsafe|extern|const|readonly|shared|friend|fileprivate|mutating|case|implicit|lazy|"
    r"suspend|pub(?:\([\w: ]{1,40}\))?|local|typedef|template|new|overridable|mustinherit|notinheritable)\s+){0,6}"
)


def _defines(words: str) -> re.Pattern[str]:
    """A line that begins, after modifiers, with one of `words` (a pattern) and a name."""
    return re.compile(rf"[ \t]*{_MODIFIERS}(?:{words})\s+[\w$.:~@\"'`(*&<-]", re.IGNORECASE)


_TYPES = "class|interface|enum|record|struct|namespace|trait|object|union|module|@interface|mixin|extension"
_WORDS = {
    "python": re.compile(r"[ \t]*(?:async\s+def|def|class)\s+\w"),
    "javascript": re.compile(
        rf"[ \t]*{_MODIFIERS}(?:(?:function\b\s*\*?|class|interface|enum|namespace)\s*[\w$]"
        r"|type\s+[\w$]+[^=\n]{0,80}=(?!>))"
        r"|(?:export\s+)?(?:const|let|var)\s+[\w$]+[^=()\n]{0,80}=\s*(?:async\b\s*)?"
        r"(?:function\b|(?:\([^()\n]{0,200}\)(?:\s*:[^=\n]{0,80})?|[\w$]+)\s*=>)"
    ),
    "java": _defines(f"{_TYPES}|fun|def"),
    "csharp": _defines(_TYPES),
    "c": _defines(r"class|struct|enum(?:\s+class)?|union|namespace|@interface|@implementation|@protocol"),
    "go": re.compile(r"(?:func\b|type\s+\w+)"),
    "rust": _defines("fn|struct|enum|trait|mod|impl(?:<[^\n]{0,80}>)?|union|macro_rules!"),
    "swift": _defines("func|class|struct|enum|protocol|extension|actor"),
    "php": _defines("function|class|interface|trait|enum|namespace"),
    "ruby": _defines("def|class|module"),
    "lua": _defines("function"),
    "perl": _defines("sub|package"),
    "shell": re.compile(r"[ \t]*(?:function\s+[\w:.-]+|[\w:.-]+\s*\(\s*\))"),
    "powershell": _defines("function|filter|class|enum"),
    "sql": re.compile(
        r"\s{0,20}(?:create|alter)\s+(?:or\s+replace\s+|or\s+alter\s+|unique\s+|temp(?:orary)?\s+|materialized\s+|"
        r"external\s+|global\s+){0,3}(?:table|view|index|function|procedure|proc|trigger|schema|database|type|sequence|"
        r"package|role|user)\b",
        re.IGNORECASE,
    ),
    "r": re.compile(r"[ \t]*[\w.]+\s*(?:<-|=)\s*function\b"),
    "vb": _defines(r"sub|function|class|module|structure|enum|interface|property(?:\s+(?:get|let|set))?"),
    "ini": re.compile(r"[ \t]*\[{1,2}[^\[\]\n]{1,200}\]{1,2}\s*(?:[#;][^\n]*)?$"),
    "yaml": re.compile(r"[\w\"'./-]{1,100}:\s*(?:[&!|>#][^\n]*)?$"),
    "css": re.compile(r"@media\b[^\n]*"),
    "protobuf": _defines("message|service|enum|rpc"),
}
# Where functions have no word of their own, a name with parameters and a body in braces is one.
_BODIES_IN_BRACES = ("javascript", "java", "csharp", "c")
_NOT_FUNCTIONS = re.compile(
    r"if|for|while|switch|catch|else|return|do|try|using|lock|foreach|new|throw|when|with|synchronized|case|await|yield|"
    r"elif|unless|until|function|sizeof|typeof|delete|goto|assert|defer"
)
_BEFORE_NAME = re.compile(r"[\w\s<>,\[\]*&:~?@$#]+")
_MARKS = re.compile(r"[(){};]")
_BODY = re.compile(r"(?!\s*\n\s*\n)[^;=(){}]{0,200}\{")  # behind the parameters: const, throws, a type
# Comments and decorators.
_ABOVE = re.compile(r"[ \t]*(?:#(?!include|define|if|endif|else|pragma)|//|/\*|\*|--|@\w|;|'|\[\w+[\](])")


def parse(source: Source) -> Iterator[ParsedDocument]:
    """The text as it is, and where its definitions begin."""
    builder = TextBuilder(source.name)
    text = clean(decode(source.path.read_bytes())).strip("\n")
    builder.add_clean(text)
    if len(text) <= _MAX_CHARACTERS:
        for start, level, title in find_definitions(text, CODE[source.media_type]):
            builder.mark_heading(start, level, title)
    yield from builder.last_parts()


def find_definitions(text: str, language: str) -> Iterator[tuple[int, int, str]]:
    """The start, with the comments above, the level and the first line of each definition."""
    lines = text.split("\n")
    pattern = _WORDS[language]
    outer: list[int] = []  # the indents of the definitions around
    above = -1  # where the comments begin that stand directly above
    start = 0
    for index, line in enumerate(lines):
        if len(line) <= _LONGEST_LINE and line.strip():
            is_definition = bool(pattern.match(line)) or (
                language in _BODIES_IN_BRACES and _is_function(lines, index, needs_type=language != "javascript")
            )
            if is_definition:
                indent = len(line) - len(line.lstrip())
                while outer and outer[-1] >= indent:
                    outer.pop()
                outer.append(indent)
                level = min(len(outer), _DEEPEST) if language != "ini" else 1
                yield start if above < 0 else above, level, _title(line)
            if not _ABOVE.match(line):
                above = -1
            elif above < 0:
                above = start
        else:
            above = -1
        start += len(line) + 1


def _title(line: str) -> str:
    title = line.strip()
    if title.startswith("["):
        title = title.split("]")[0].strip("[] ")
    return title.rstrip("{:( \t")[:_LONGEST_TITLE]


def _is_function(lines: Sequence[str], index: int, *, needs_type: bool) -> bool:
    """Whether the definition of a function begins at a line: `type name(parameters) {`, over some lines perhaps."""
    line = lines[index]
    before, bracket, _parameters = line.partition("(")
    words = before.split()
    if not bracket or not words or _NOT_FUNCTIONS.fullmatch(words[0]) or not _BEFORE_NAME.fullmatch(before):
        return False
    if _NOT_FUNCTIONS.fullmatch(words[-1]) or before.lstrip()[:1] in ("#", "*"):
        return False
    is_method = line[:1].isspace()  # also a constructor, which has no type
    if len(words) == 1 and is_method and needs_type and not (words[0][:1].isupper() or "::" in before):
        return False
    head = "\n".join(lines[index : index + _SIGNATURE_LINES])[:_LONGEST_SIGNATURE]
    depth = 0
    for mark in _MARKS.finditer(head, len(before)):
        if mark.group() == "(":
            depth += 1
        elif mark.group() != ")" or depth == 0:
            return False
        else:
            depth -= 1
            if depth == 0:
                return bool(_BODY.match(head, mark.end()))
    return False
