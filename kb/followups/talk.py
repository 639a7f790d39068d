"""What asks nothing of any document: greetings, thanks, “who are you?”, and orders about the last answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Flag, auto

from kb.lexical import script_share

# --- greetings and thanks --------------------------------------------------------------------------------------

# These may stand before a question; what follows them is judged by itself. A comma has to part the others from it.
_OPENINGS = "hello there|hello|hi there|hi|hey there|hey|thank you|thanks|thx|okay|ok|你好啊?|您好|谢谢[你您]?"
_PHRASES_EN = r"""
good (?:morning|afternoon|evening|day|night)|greetings|howdy|ty|cheers|many thanks|much appreciated|i appreciate it
thank you (?:so|very) much|thanks (?:so much|a lot|again|a million)|thank you again
(?:thanks|thank you) (?:\w+ )?for (?:that|this|it|everything|(?:your|the|all your) (?:help|answer|reply|time)|helping)
thanks (?:everyone|all|buddy|man|mate)|great|good|nice|cool|perfect|awesome|excellent|fine|sure|alright|all right
got it|i see|i understand|understood|makes sense|that makes sense|wow|right|yes|no|yep|nope|yeah|well done|good job
great job|that(?:'s| is| was)(?: very| really| all)? (?:great|good|helpful|all|fine|nice|it|enough|perfect|useful)
very (?:good|helpful|nice)|never ?mind|no problem|you(?:'re| are) welcome|sorry|bye|bye bye|goodbye|good bye
see you(?: later| soon| tomorrow)?|have a (?:nice|good|great) (?:day|one|evening|weekend)|take care|lol|haha|hmm+|oh|ah
who are you|what are you|what(?:'s| is) your name|what can you do(?: for me)?|what do you do|introduce yourself
how are you(?: doing)?(?: today)?|how(?:'s| is) it going|what(?:'s| is) up|nice to meet you|are you there
are you (?:an? )?(?:bot|robot|human|person|ai|real|machine|chatgpt|gpt|llm)
who (?:made|built|created|trained|developed) you|(?:which|what) (?:ai |language )?model are you|how old are you
(?:can|could) you help(?: me)?(?: please)?|help(?: me)?(?: please)?|how can you help(?: me)?|tell me a joke
what languages? (?:do|can) you speak|(?:do|can) you speak \w+|test|testing
continue|go on|keep going|carry on|please continue|continue please|go ahead
"""
_PHRASES_ZH = r"""
嗨+|嘿|哈喽|哈啰|哈罗|早上好|上午好|中午好|下午好|晚上好|晚安|早安|早|大家好|你?在[吗么]|在不在|有人[吗么]|您?辛苦[了啦]
(?:非常|十分|多|太|万分)?(?:谢谢|感谢|谢)[你您]?(?:了|啦|啊|的(?:帮助|回答|解答))?|多谢|谢啦|谢了|感恩|麻烦[你您]了
好[的吧嘞滴哒呀啊了]?|行[吧]?|可以的?|嗯+|哦+|噢+|喔+|啊+|知道[了啦]|我?明白[了啦]?|我?懂[了啦]|我?了解[了啦]?|收到
没事[了啦]?|没问题|不客气|不用[了谢]?|再见|拜拜|回头见|对[的啊]?|是[的啊]|不是|不对|哈哈+|呵呵+|厉害|真棒|太好了|太棒了|很好|非常好
(?:真|很|还)?不错|有道理|原来如此|这样啊|抱歉|对不起|不好意思|你好吗|最近(?:怎么样|好吗)|吃了吗|讲个笑话|测试(?:一下)?
[你您](?:到底)?是(?:谁|什么|什么东西|什么模型|哪个模型|哪家的模型)|[你您]叫什么(?:名字)?|[你您]的名字(?:是什么|叫什么)?
[你您](?:能|会|可以|都能|都会)(?:为我|帮我)?(?:做|干)?(?:些)?(?:什么|啥|哪些事)|[你您]有(?:什么|哪些)(?:功能|能力|用)
(?:请?介绍(?:一)?下?[你您]自己|(?:做个)?自我介绍(?:一下)?)|[你您]是(?:不是)?(?:一个)?(?:机器人|人工智能|真人|人类?|ai|chatgpt|gpt)[吗么]?
(?:是)?谁(?:开发|创造|训练|制造|做)(?:了|的)?[你您](?:的)?|帮帮我|请?帮(?:我|忙|个忙)|(?:能|可以)帮(?:我|帮我|个忙)(?:一下)?[吗么]
(?:请)?(?:继续|接着说|往下说|说下去)(?:吧|说|讲|写)?
"""
_MARK = r"[,.!?;:~…。！？，、；：～\-—\U0001F300-\U0001FAFF☺❤♥\ufe0f]"


def _alternatives(lines: str) -> str:
    return "|".join(line for line in lines.strip().splitlines())


_PHRASE = re.compile(
    rf"(?:please\s+)?(?:{_alternatives(_PHRASES_EN)}|{_alternatives(_PHRASES_ZH)})"
    rf"(?:\s+(?:please|zhiwen))?(?=\s*(?:{_MARK}|$))"
)
_OPENING = re.compile(rf"(?:{_OPENINGS})(?![a-z0-9'’\-])")
_BREAKS = re.compile(rf"(?:{_MARK}|\s)+")


def without_talk(text: str) -> str:
    """What is left of a folded text without the greetings and thanks before and after; empty if it is nothing else."""
    start = 0
    while start < len(text):
        if found := _BREAKS.match(text, start) or _PHRASE.match(text, start) or _OPENING.match(text, start):
            start = found.end()
        else:
            break
    rest = text[start:]
    # After the question, only a whole sentence can be talk: “Wie lange? Danke!”
    while (parted := re.fullmatch(r"(.*[,.!?;。！？，；])\s*(.*?)[\s.!~。！～]*", rest, re.DOTALL)) and parted[2]:
        if not (_OPENING.fullmatch(parted[2]) or _PHRASE.fullmatch(parted[2])):
            break
        rest = parted[1].rstrip()
    return rest


# --- orders about the last answer ------------------------------------------------------------------------------


class _Kind(Flag):
    """What a word of an order about the last answer can be."""

    FILLER = auto()
    PRONOUN = auto()  # “it”
    SAID = auto()  # “your answer”
    VERB = auto()  # “say”, “put”: they need a target
    STRONG = auto()  # “translate”, “shorten”
    SUMMARY = auto()  # a summary of the answer, or of a document
    TARGET = auto()  # “English”, “a table”
    SHORTER = auto()
    INTO = auto()


def _words(kind: _Kind, words: str) -> dict[str, _Kind]:
    return dict.fromkeys(words.split(), kind)


_LANGUAGES_EN = """english chinese mandarin cantonese japanese korean french german spanish italian portuguese russian
arabic hindi thai vietnamese dutch traditional simplified"""
_LANGUAGES_ZH = """英文 英语 中文 汉语 普通话 粤语 台语 国语 繁体 繁体字 繁体中文 正体 正体中文 简体 简体字 简体中文
日文 日语 韩文 韩语 法文 法语 德文 德语
西班牙语 西班牙文 俄语 俄文 意大利语 葡萄牙语 阿拉伯语 泰语 越南语"""
_ORDER_EN = (
    _words(
        _Kind.FILLER,
        """please can could would will you now just again me for us the a an one two three four five more once i want
        need like i'd to my so then and but be all how do other more much bit little too very of each only with let's
        less few""",
    )
    | _words(_Kind.PRONOUN, "it that this them these those it's that's")
    | _words(
        _Kind.SAID, "answer reply response above conversation chat discussion said wrote your last previous version"
    )
    | _words(_Kind.VERB, "say put write give make format reformat turn convert show present output express explain")
    | _words(_Kind.VERB, "respond speak tell list")
    | _words(_Kind.STRONG, "translate rewrite rephrase reword reformulate paraphrase shorten condense simplify polish")
    | _words(_Kind.STRONG, "proofread translation")
    | _words(_Kind.SUMMARY, "summarize summarise summary recap")
    | _words(_Kind.TARGET, _LANGUAGES_EN)
    | _words(_Kind.TARGET, "table bullet bullets points bulleted numbered markdown json paragraph paragraphs sentence")
    | _words(
        _Kind.TARGET, "sentences word words line lines simple plain terms short brief formal informal concise tone"
    )
    | _words(_Kind.TARGET, "style language list friendly polite casual professional layman's")
    | _words(_Kind.SHORTER, "shorter longer briefer simpler clearer")
    | _words(_Kind.INTO, "in into as")
)
# These are the objects of the verb as well as the verb: “answer in English”.
_ORDER_EN["answer"] = _ORDER_EN["reply"] = _Kind.SAID | _Kind.VERB
_ORDER_EN["list"] = _Kind.VERB | _Kind.TARGET
_ORDER_ZH = (
    _words(
        _Kind.FILLER,
        """请 请你 麻烦 麻烦你 帮我 帮忙 帮 给我 能不能 能否 可否 可以 可不可以 能 你 您 我 再 重新 一下 一次 一遍 遍
        吧 吗 么 啊 呀 把 将 的 得 地 为 到 来 要 想 那 就 点 些 一些 一点 更 比较 太 了 个 一个 一份 种 版 版本 方式
        语气 形式 格式 语言 全部 都 只 好不好 行吗 可以吗 好吗 出来 内容 结果 一 字 以内 左右 不要 别 这么 那么 话""",
    )
    | _words(_Kind.PRONOUN, "它 这个 那个 这 这段 这句 这段话 这句话 那段 那段话 这些")
    | _words(
        _Kind.SAID,
        "上面 上述 以上 前面 刚才 刚刚 上一个 上一条 上一段 之前 你的 你说 我们 回答 答案 回复 对话 聊天 聊 讨论",
    )
    | _words(
        _Kind.VERB,
        "说 说说 讲 讲讲 写 答 列 列出 列成 整理 做 做成 写成 整理成 表达 输出 展示 解释 转换 转 生成 转成 转换成 变成",
    )
    | _words(
        _Kind.STRONG,
        "翻译 翻成 译成 译为 翻译成 翻译为 改写 改写成 重写 重述 复述 润色 缩短 精简 简化 扩写 缩写 换句话",
    )
    | _words(_Kind.STRONG, "换个说法 换种说法 换一种说法")
    | _words(_Kind.VERB, "改成 换成 改为 换")
    | _words(_Kind.SUMMARY, "总结 概括 归纳 概述 小结 总结成 概括成")
    | _words(_Kind.TARGET, _LANGUAGES_ZH)
    | _words(
        _Kind.TARGET,
        "表格 列表 清单 要点 条目 分点 分条 条列 条列式 列点 一句话 一段话 两句话 三句话 几句话 白话 大白话 通俗",
    )
    | _words(_Kind.TARGET, "通俗易懂 简单 简短 简洁 正式 口语 口语化 markdown json 段落 百字 短 长")
    | _words(
        _Kind.SHORTER,
        "短点 短一点 短些 短一些 简短点 简短一点 简短些 简洁点 简洁一点 简洁些 简单点 简单一点 简单些 长一点 长点",
    )
    | _words(_Kind.SHORTER, "太长 太长了 再短 通俗点 通俗一点 通俗些 正式点 正式一点")
    | _words(_Kind.INTO, "用 以 成")
)
_ORDER_ZH["回答"] = _ORDER_ZH["回复"] = _Kind.SAID | _Kind.VERB
_ORDER_WORD_ZH = re.compile("|".join(sorted(map(re.escape, _ORDER_ZH), key=len, reverse=True)))
_TOKEN = re.compile(r"([\u3400-\u9fff]+)|([^\W\u3400-\u9fff]+(?:['’\-][^\W\u3400-\u9fff]+)*)")
_SAY_IN = re.compile(
    rf"(?:用)?(?:{'|'.join(_LANGUAGES_ZH.split())})(?:要|应该|该)?(?:怎么|如何)(?:说|讲|写|翻译|表达)[呢?。]*"
)


def is_about_the_answer(text: str) -> bool:
    """Whether the text only tells how to give the last answer again: “make it shorter”, “用英文再说一遍”."""
    if _SAY_IN.fullmatch(text):
        return True
    kinds = _Kind(0)
    for word in _order_words(text):
        kind = _ORDER_EN.get(word) or _ORDER_ZH.get(word)
        if kind is None and not word.isdigit():
            return False
        kinds |= kind or _Kind.FILLER
    if kinds & (_Kind.STRONG | _Kind.SHORTER):
        return True
    if _Kind.SUMMARY in kinds:
        return _Kind.SAID in kinds
    if _Kind.TARGET not in kinds:
        return False
    if _Kind.INTO in kinds:
        return _Kind.VERB in kinds or "?" not in text
    is_named = bool(kinds & (_Kind.PRONOUN | _Kind.SAID)) or bool(script_share(text, "han"))
    return (_Kind.VERB in kinds and is_named) or "please" in text


def _order_words(text: str) -> Iterator[str]:
    """The words of a text; Chinese ones as far as they are known, what is left of them as it is."""
    for han, other in _TOKEN.findall(text):
        if not han:
            yield other.replace("’", "'")
            continue
        yield from _ORDER_WORD_ZH.findall(han)
        yield from filter(None, _ORDER_WORD_ZH.split(han))
