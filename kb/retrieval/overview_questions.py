"""Questions about the base or a whole file: “Which files are there?”, “Summarize refunds.md”, “总结一下这份文档”.

No search answers them: they ask for names, or for a file from its beginning. Their words tell them, and they consist of
little else: a question that merely holds such words (“Which documents do I need for a visa?”) is an ordinary one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Flag, auto

from kb.lexical import simplify
from kb.names import clean_text, fold

LONGEST_QUESTION = 200  # characters; a longer one asks for more than this


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question asks for.

    `phrases` may name the file, the likeliest first; else `names` may, if each of them is a file; else `titles` are
    files that it names one by one. None of these means “this document”, or all documents if it `is_of_several`.
    `is_exact`: an ordinary question could have these words, so a file must be called exactly that.
    """

    wants_names: bool = False
    wants_beginnings: bool = False
    phrases: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    is_exact: bool = False
    is_of_several: bool = False


class _Kind(Flag):
    """What a word of such a question can be."""

    FILLER = auto()
    VERB = auto()  # “write a summary”; “which files do I need?” is an ordinary question
    LIST = auto()  # “which”, “list”, “哪些”
    SHOW = auto()  # those of them that give an order
    ALL = auto()  # “list everything”
    FILES = auto()
    MATERIALS = auto()  # they are files only if they are here
    HERE = auto()
    UPLOADED = auto()  # “what have I uploaded?” asks for files without the word
    FILE = auto()  # “this document”, “全文”
    BASE = auto()
    WHOLE = auto()  # “summarize”, “总结”
    PERHAPS = auto()  # “what is … about”, “介绍”
    COMPARE = auto()
    PARTS = auto()  # whoever lists all clauses reads the whole


def _words(kind: _Kind, words: str) -> dict[str, _Kind]:
    return dict.fromkeys(words.split(), kind)


_ENGLISH = (
    _words(
        _Kind.FILLER,
        """a an the any every each of my our their its in into inside within on at to for from with and or by as is
        are was were be been am do does did we i me us have has had got can could would will please there contain
        contains contained include includes included hold holds stored available present currently now right so far
        already exist exists loaded ready indexed see access know tell give only briefly brief short shortly long
        detailed quick quickly simple main key most important entire full complete total exactly name title
        filename kind kinds type types latest newest other else more existing various
        english chinese french german spanish japanese
        how word words sentence sentences paragraph paragraphs bullet bullets line lines one two three four five ten few
        up up-to-date base collection library folder both between these those""",
    )
    | _words(_Kind.VERB, "get make write create provide need want like produce prepare read")
    | _words(_Kind.LIST, "what which many much whats what's what’s names titles filenames")
    | _words(_Kind.LIST | _Kind.SHOW, "list lists listing show enumerate display")
    | _words(_Kind.ALL, "all everything")
    | _words(_Kind.FILES, "files documents docs pdfs")
    | _words(_Kind.MATERIALS, "sources materials texts papers spreadsheets presentations slides articles")
    | _words(_Kind.HERE, "here you your")
    | _words(_Kind.HERE | _Kind.UPLOADED, "uploaded uploads")
    | _words(_Kind.FILE, "file document doc pdf this that it whole text article paper report attachment")
    | _words(_Kind.BASE, "kb knowledgebase knowledge-base")
    | _words(_Kind.WHOLE, "summarize summarise summarizing summary summaries overview outline gist recap tldr")
    | _words(_Kind.PERHAPS, "about say says describe covers cover content contents takeaways points topics discuss")
    | _words(_Kind.PERHAPS, "explain translate review analyze analyse analysis critique proofread paraphrase")
    | _words(_Kind.COMPARE, "compare compares comparison contrast versus vs differ differs difference differences")
    | _words(_Kind.COMPARE, "similarities")
    | _words(_Kind.PARTS, "clauses sections chapters headings provisions")
)
_CHINESE = (
    _words(
        _Kind.FILLER,
        """请问 帮我 帮忙 给我 告诉我 麻烦 能不能 能否 可否 可以 一下 看一看 看看 看一下 读一下 打开 看到 看见 访问
        我想知道 想知道 这个 这些 那个 当前
        现在 目前 我们 它们 查看 看下 想看 说出 说说 有没有 报一下
        之间 之处 有何 分别 两个 两份 两篇 这两 二者 两者
        里面 里头 里边 之中 都有 一共有 一共 总共有 总共 共有 包含 包括 含有 收录
        存放 存储 存有 保存 名字 名称 标题 以及 数量 到底 究竟 可供 可用 查询 写个 写一 做个 做一 一个 一份
        一段 一篇 一句话 一句 几句话 两句话 三句话 百字 以内 左右 简单 简要 简短 简洁 详细 快速 中文 英文 英语 主要
        核心 关键 整个 整份 整篇 完整 进行 出来 对于 您好 你好 谢谢""",
    )
    | _words(
        _Kind.LIST,
        "有哪些 都有哪些 哪些 哪几 有什么 有些什么 什么 有啥 有多少 多少 几个 几份 几篇 清单 列表 名单 目录",
    )
    | _words(_Kind.LIST | _Kind.SHOW, "列出来 列出 列一下 列一列 列举 罗列 展示 显示")
    | _words(_Kind.ALL, "全部 所有 一切")
    | _words(_Kind.FILES, "文件 文档 文献 档案 文件名 文件名称 档名")
    | _words(_Kind.MATERIALS, "资料 材料 文章 附件 书籍")
    | _words(_Kind.HERE, "这里 你们 你有 您有")
    | _words(_Kind.HERE | _Kind.UPLOADED, "上传了 上传过 已上传 上传的 已经上传")
    | _words(_Kind.FILE, "全文 本文件 本文档 本文 原文 正文 该文件 该文档 该文 此文件 此文档 这份 这篇 这本")
    | _words(_Kind.BASE, "知识库 资料库 文档库 文件库 库里 库中 库内")
    | _words(
        _Kind.WHOLE, "总结 概括 概述 概览 归纳 摘要 概要 大意 梗概 综述 提要 中心思想 主要内容 主旨 总览 小结 梳理"
    )
    | _words(_Kind.PERHAPS, "讲了些什么 讲了什么 讲了啥 讲的是什么 讲什么 说了些什么 说了什么 说了啥 说的是什么 说什么")
    | _words(_Kind.PERHAPS, "写了些什么 写了什么 写了啥 写的是什么 写的啥 讲的啥 关于什么 介绍了什么 介绍 简述")
    | _words(_Kind.PERHAPS, "解读 翻译 内容 要点 重点 大纲 提纲 分析 点评 校对")
    | _words(_Kind.COMPARE, "比较 对比 比一比 区别 差异 差别 异同 不同 不一样 相同 共同")
    | _words(_Kind.PARTS, "条款 条文 章节 条目 小标题")
)
_CHINESE_WORD = re.compile("|".join(sorted(map(re.escape, _CHINESE), key=len, reverse=True)))
# Single characters are parts of other words, too: they only go from the ends of what is left, or if nothing else is.
_ENDS = "的了吗嗎呢啊呀吧把将將对對为為请請是有在里裡裏中内內和与與及用我你它这這那"
_SINGLES = frozenset(_ENDS + "该本此上下都共全个份篇条款字以做写来出给能想看些名几存过已叫")
_QUOTED = re.compile(r"《([^《》]{1,100})》|「([^「」]{1,100})」|“([^“”]{1,100})”|\"([^\"]{1,100})\"|`([^`]{1,100})`")
_TOKEN = re.compile(r"([\u3400-\u9fff]+)|((?:[^\W\u3400-\u9fff]|(?<=\w)[-.'’&+](?=\w))+)")
_BASE_IN_TWO_WORDS = re.compile(r"\bknowledge\s+base\b")
_TLDR = re.compile(r"\btl;\s?dr\b|\bsum\s+up\b")
_FILE_LIST = re.compile(r"\b(file|document|doc|pdf)\s+(?=(?:list|listing|names?|titles?)\b)")
# What may stand between two files; inside a Chinese name, it may be a part of it.
_JOINT = re.compile(r"[,，、;；&]")
_JOINING = frozenset(["and", "or", "with", "to", "from", "vs", "versus"])
_HAN_JOINT = re.compile("以及|[和与與及跟同]")
_EXTENSION = re.compile(r"\.[a-z0-9]{1,5}$")
# How to do something, what a thing is, and what can be uploaded are questions to the documents.
_ORDINARY = re.compile(
    r"how(?!\s+(?:many|much)\b|\s+do(?:es)?\b.*\b(?:differ|compare)\b)|what\s+about\b|why\b|who\b|when\b|where\b"
    r"|(?:is|was|must|should|may)\b|what(?:\s+is|['’]?s)\s+an?\b"
    r"|.*(?:怎么|如何|怎样|为什么|什么是|什么时候|何时|几点|哪里|能上传|可以上传|支持)"
)
# Without a word that asks, only this tells an order (“name the documents”) from a question (“can files be long?”).
_ASKING_ABOUT = re.compile(
    r"(?:can|could|does?|did|are|were|has|have|had|will|would)\b(?!\s+(?:you|there)\b)|(?:i|we)\b"
)
# “I need a list of the files” asks for no more than “a list of the files”.
_REQUEST = re.compile(
    r"^(?:please\s+)?(?:(?:i|we)(?:['’]d|\s+would)?\s+(?:need|want|like)|(?:(?:can|could|will|would)\s+you\s+)?"
    r"(?:please\s+)?(?:get|make|provide|create|prepare|write))\s+(?=(?:\S+\s+){0,3}list\b|to\s+(?:see|know)\b)"
)
_WHAT_IS_HERE = re.compile(
    r"(?:so\s+)?what(?:(?:['’]?s|\s+is)\s+(?:in\s+)?(?:here|there)|(?:\s+all)?\s+do\s+you\s+(?:have|hold)|\s+have\s+you\s+got)"
    r"(?:\s+(?:in\s+)?here)?"
    r"|(?:请问)?(?:(?:你们?|您)(?:这里|这儿|这边)?|这里面?|这儿|里面|里头)都?(?:有(?:什么|哪些|啥)|有些什么)(?:东西|内容)?"
)


def read_question(question: str) -> Asked | None:
    """What the question asks for; None if it is an ordinary one. Takes linear time."""
    if len(question) > LONGEST_QUESTION:
        return None
    text = _REQUEST.sub("", _FILE_LIST.sub(r"\1s ", _folded(question)))
    simplified = simplify(text)
    if _WHAT_IS_HERE.fullmatch(simplified.rstrip("?!. 。")):
        return Asked(wants_names=True)
    if _ORDINARY.match(simplified):
        return None
    titles = ["".join(found).strip() for found in _QUOTED.findall(text)]
    kinds, groups, numbers = _read_words(_QUOTED.sub(" ", text))
    rest = [word for group in groups for word in group]
    phrases = (" ".join([*rest, *numbers]), " ".join(rest)) if rest else ()
    names = _names([*([title] for title in titles), *groups])
    titles += [word for word in rest if _EXTENSION.search(word)]
    asked = Asked(phrases=tuple(dict.fromkeys(phrases)), names=names, titles=tuple(dict.fromkeys(titles)))
    has_names = bool(phrases or titles)
    are_here = _Kind.MATERIALS in kinds and _Kind.HERE in kinds
    has_files = bool(kinds & (_Kind.FILES | _Kind.FILE)) or are_here
    if _Kind.COMPARE in kinds:
        is_of_several = len(names) > 1 or len(asked.titles) > 1 or (has_files and not has_names)
        return replace(asked, wants_beginnings=True, is_exact=True, is_of_several=True) if is_of_several else None
    wants_whole = _Kind.WHOLE in kinds or (_Kind.LIST in kinds and _Kind.PARTS in kinds)
    if wants_whole or (_Kind.PERHAPS in kinds and (has_names or has_files or _Kind.BASE in kinds)):
        is_of_base = _Kind.BASE in kinds and not has_names
        is_of_several = is_of_base or (_Kind.ALL in kinds and has_files)
        return replace(
            asked,
            wants_beginnings=True,
            wants_names=is_of_base,
            is_exact=not wants_whole,
            is_of_several=is_of_several,
        )
    alone = asked.titles if set(rest) <= set(titles) else ()
    if any(_EXTENSION.search(name) for name in (*alone, *phrases)):
        # Little else than a file's name. Other words are part of the name, or they make the question an ordinary one.
        return replace(asked, wants_beginnings=True, names=(), titles=alone, is_exact=True)
    if has_names or _Kind.VERB in kinds:
        return None
    if _Kind.LIST in kinds:
        is_everything = _Kind.SHOW in kinds and _Kind.ALL in kinds
        if are_here or is_everything or kinds & (_Kind.FILES | _Kind.BASE | _Kind.UPLOADED):
            return replace(asked, wants_names=True)
        return replace(asked, wants_beginnings=True) if _Kind.FILE in kinds else None
    is_statement = _Kind.UPLOADED in kinds or _ASKING_ABOUT.match(text)
    return replace(asked, wants_names=True) if _Kind.FILES in kinds and not is_statement else None


def asks_for_whole(question: str) -> bool:
    """Whether a question that does not name its text has no words to search for: “Summarize”, “讲了什么？”, “”."""
    if len(question) > LONGEST_QUESTION:
        return False
    kinds, groups, numbers = _read_words(_folded(question))
    return not groups and (not numbers or bool(kinds & (_Kind.WHOLE | _Kind.PERHAPS | _Kind.COMPARE)))


def _folded(question: str) -> str:
    return _TLDR.sub("tldr", _BASE_IN_TWO_WORDS.sub("kb", fold(clean_text(question)).strip()))


def _read_words(text: str) -> tuple[_Kind, list[list[str]], list[str]]:
    """The kinds of the words that such questions consist of; then the other words, and the numbers.

    The other words are grouped: between two groups stood a joint, or a word that these questions consist of.
    """
    kinds = _Kind(0)
    groups: list[list[str]] = [[]]
    numbers: list[str] = []
    end = 0
    for token in _TOKEN.finditer(text):
        han, other = token.groups()
        if _JOINT.search(text, end, token.start()):
            groups.append([])
        end = token.end()
        if han:
            # The words are compared in Simplified characters; a file's name stays as it was written.
            simplified = simplify(han)
            is_aligned = len(simplified) == len(han)
            for word in _CHINESE_WORD.findall(simplified):
                kinds |= _CHINESE[word]
            left = _CHINESE_WORD.sub(lambda word: " " * len(word[0]), simplified)
            for piece in re.finditer(r"\S+", left):
                whole = (han if is_aligned else simplified)[piece.start() : piece.end()]
                name = whole.strip(_ENDS)
                if _HAN_JOINT.match(whole):
                    groups.append([])
                if not _SINGLES.issuperset(name):
                    groups[-1].append(name)
        elif other.startswith(".") and groups[-1]:  # 员工手册.pdf
            groups[-1][-1] += other
        elif kind := _ENGLISH.get(other):
            kinds |= kind
            if other in _JOINING:
                groups.append([])
        else:
            (numbers if other.isdecimal() else groups[-1]).append(other)
    return kinds, [group for group in groups if group], numbers


def _names(groups: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """What may be the names of several files: “a and b”, “甲和乙”. None if it is one name."""
    names = [" ".join(group) for group in groups]
    parts = [part.strip(_ENDS + " ") for name in names for part in _HAN_JOINT.split(name)]
    return tuple(dict.fromkeys(parts)) if len(parts) > 1 and all(parts) else ()
