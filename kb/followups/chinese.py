"""Chinese questions that go on from what was said before: 它呢？, 那2024年呢？, 怎么申请？, 再讲一遍."""

from __future__ import annotations

import re

_FOLLOWING = re.compile(
    r"""为什么|为啥|为何|怎么会|真的[吗么]|真的假的|[你您]?确定[吗么]|是[吗么]|然后|后来|还有(?:[吗么]|别的[吗么]?|其他的?[吗么]?|什么|哪些|吗)?
    |(?:请|麻烦)?[你您]?再(?:讲|说|解释|介绍|来|问|查)(?:解)?(?:一)?(?:遍|次|下|个|条)|(?:请|麻烦)?重(?:复|说)一?(?:遍|次|下)
    |(?:请|能|可以|能不能|麻烦)?[你您]?(?:再)?(?:给我)?(?:详细|具体|展开|仔细|深入|进一步|多)(?:地|的|一点|点|些)?
      (?:说|讲|解释|介绍|说明|谈|聊|描述)?(?:说|讲|谈|聊|明)?(?:一下|一点|点|些|下)?(?:[吗么吧])?
    |具体(?:点|一点|呢|是什么|怎么做|怎么说|指什么|有哪些)|(?:能|请)?(?:再)?举(?:个|几个|一个)?例(?:子)?(?:说明|吗|一下)?
    |比如(?:说)?|例如|什么意思|怎么说|何以见得|(?:依据|出处|来源|根据|证据)(?:是什么|在哪里?|呢)?|(?:这|那)?(?:又)?怎么办
    |(?:更多|更详细)(?:信息|细节|内容|例子|的)?""".replace("\n", "").replace(" ", "")
)
_QUESTION_WORD = re.compile("什么|谁|哪|多少|几|怎|如何|何|为啥|吗|是不是|有没有|能不能")
_THEN = re.compile("那(?!不勒斯|曲|英|霸|拉提|斯达克|坡|达慕|木措|仁|然|烂陀|格|摩|须|瓦|伐|珀|塔|波)(?:么|就)?")
_LINKS = re.compile("还有(?!.{11})|另外|此外|而且|但是?|不过|可是|所以|换成|要是|如果是")
_REFERENCE = re.compile(
    r"(?:前者|后者|前两者|后两者|上一[个条点]|下一[个条点]|另(?:外)?一[个种]|其他的|别的|剩下的|其余的)(?!.{9})"
    r"|第[一二三四五六七八九十\d]+[个点种](?:$|呢|是什么意思|是指|是什么$|怎么|具体|详细|和第|与第|为什么)"
)
# 哪一个更便宜, but not 哪个更便宜，甲还是乙
_WHICH = re.compile("哪一?[个种款台家项](?:更|比较|最)[^,，、还和与]{1,6}")
_THEY = re.compile("(?<![其吉维排利无犹耳结异])他(?![人国项乡汀莫杀方日信达拉])|她|(?<!其)它")
_THIS = re.compile(
    r"[这那](?:个|种|些|项|条|款|类|样|时|里|儿|一点|边)?(?:的话)?"
    r"(?=$|[是算有要怎为能可会对和跟与呢吗么的也在需又多还应该]|产品|公司|问题|情况|项目|政策|规定|功能|方法|方案|条款|数字|数据|期限"
    r"|费用|东西|制度|人|时候|地方|价格|服务|合同|金额|部门)"
)
_KNOWN_FILES = re.compile("[这那本该](?:个|份|篇|些|本)?(?:文件|文档|文章|资料|知识库|报告)")
_BEFORE_PRONOUN = re.compile(
    r"(?:请问|请|为什么|为何|为啥|那么?|如果|要是|假如|所以|但是?|而且|还有|另外|关于|对于?|在|当|和|跟|与|谁|哪里|什么|怎么|如何"
    r"|是不是|是否|我们|我|你|想|知道|告诉|介绍|一下|问|只|把|被|给|让|从|据|根据|按照|截至|到|自|于|的|了|时|里|中|能|可以|会|有没有"
    r"|\d{1,4}|年|月|日|世纪|年代|、|-|,|\s|，)*+"
)
_MOST_CHARACTERS = 20
_MOST_WITHOUT_TOPIC = 12
_FUNCTION_WORDS = """
    请问 请 那么 那 这 我们 我 你 您 的 了 吗 呢 啊 呀 吧 么 是 有 在 要 会 能 可以 可 应该 应 需要 需 得
    什么 怎么 怎样 怎么样 如何 为什么 为啥 多少 多久 多长 长 多长时间 多大 大 多高 高 几 几个 几天 几次 几年 几种 哪
    哪里 哪儿 哪些 哪个 哪种 谁 何时 何处 什么时候 时候 时间 几点 是不是 有没有 能不能 可不可以 会不会 要不要
    是否 不 没有 没 也 都 还 再 又 就 才 只 最 最多 最少 至少 大概 大约 一般 通常 具体 到底 究竟 一下 一个 一 个
    天 月 年 次 和 与 跟 对 给 把 被 从 到 向 去 来 做 办 弄 用 找 问 看 说 讲 吗 其中 其他 别的 还有 更 更多 种
    些 钱 多少钱 为何"""
_GENERIC_WORDS = """
    申请 办理 计算 算 联系 使用 修改 取消 收费 负责 要求 条件 材料 流程 步骤 期限 费用 价格 原因 理由 例外 例子
    好处 坏处 优点 缺点 结果 后果 影响 限制 注意 意思 区别 不同 差别 办法 方法 适用 包括 包含 规定 生效 开始
    结束 截止 提交 审批 处理 解决 实现 操作 设置 细节 依据 允许"""
_GENERIC = frozenset(_GENERIC_WORDS.split())
_KNOWN = re.compile("|".join(sorted({*_FUNCTION_WORDS.split(), *_GENERIC}, key=len, reverse=True)))


def goes_on(text: str) -> bool:
    """Whether a folded Chinese text in Simplified characters goes on from what was said before."""
    asked = text.rstrip("?!.。？！~… ")
    bare = re.sub(r"[呢啊呀吧]+$", "", asked)
    if _FOLLOWING.fullmatch(bare) or _FOLLOWING.fullmatch(asked) or _WHICH.fullmatch(bare):
        return True
    if _KNOWN_FILES.search(asked):
        return False
    if len(asked) <= _MOST_CHARACTERS:
        if asked.endswith("呢") and not _QUESTION_WORD.search(asked):
            return True
        if _THEN.match(asked) or _LINKS.match(asked) or _REFERENCE.match(asked):
            return True
    if _names_no_topic(bare):
        return True
    return any(_is_open(pronoun, asked) for pattern in (_THEY, _THIS) for pronoun in pattern.finditer(asked))


def _is_open(pronoun: re.Match[str], text: str) -> bool:
    """Whether nothing stands before a pronoun that it could stand for."""
    before = text[: pronoun.start()]
    if _BEFORE_PRONOUN.fullmatch(before):
        return True
    # “怎么联系他们”: a verb is no topic.
    return pronoun.re is _THEY and len(text) <= 8 and bool(_QUESTION_WORD.match(text)) and "的" not in before


def _names_no_topic(text: str) -> bool:
    """Whether a short text holds no more than asking words and one word that says nothing by itself: “怎么申请”."""
    if len(text) > _MOST_WITHOUT_TOPIC or _KNOWN.sub("", re.sub(r"[\s,，、]", "", text)):
        return False
    words = _KNOWN.findall(text)
    generic = sum(word in _GENERIC for word in words)
    return generic <= 1 and len(words) > generic
