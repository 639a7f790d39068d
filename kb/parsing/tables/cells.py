"""What a cell holds, judged by its text: a number, a date, a code, prose, a name of a column, a unit, a total."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

from kb.columns import columns
from kb.parsing.tables.rows import SPANNED, Row

_MAX_LABEL = 120  # characters, with the group above; longer ones are prose
_MAX_SHORT_NAME = 20  # columns
MOSTLY = 0.6
_AMOUNT = re.compile(
    r"[≈~<>≤≥±+\-–−(]*\s*[¥￥$€£]?\s*[+\-−]?\d[\d,.'\u00a0 ]*(?:[eE][+-]?\d+)?\)?\s*"
    r"(?:[%‰°]|[A-Za-zµ°Ω/²³%\u4e00-\u9fff]{1,6})?"
)
_YEAR = re.compile(r"(?:FY\s?)?(?:19|20)\d\d(?:\s?[AEFP]|年度?)?|(?:FY|H[12]|Q[1-4])\W?(?:19|20)?\d\d", re.IGNORECASE)
_MONTH = re.compile(r"\d{1,2}\s?月|第?[一二三四1-4]季度|(?:19|20)\d\d\W?(?:Q[1-4]|H[12])|[QH][1-4]", re.IGNORECASE)
_DATE = re.compile(
    r"(?:19|20)\d\d\s?[-/.年]\s?\d{1,2}(?:\s?[-/.月]\s?\d{0,2}日?)?(?:[ T]\d{1,2}:\d\d.*)?"
    r"|\d{1,2}[-/.]\d{1,2}[-/.](?:\d\d|\d{4})|\d{1,2}:\d\d(?::\d\d)?|\d{1,2}月\d{1,2}日"
    r"|(?:\d{1,2}[- ])?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[-' ]\d{2,4}",
    re.IGNORECASE,
)
_OF_YEAR = re.compile(r"(?:19|20)\d\d(?:\s[A-Z][a-z]+.*|\s?年度?[\u4e00-\u9fff]{2,})")  # 2023 Sales, 2023年收入
_COMMENT = re.compile(r" ?\[comment: .*\]$")  # of a reviewer
_ADDRESS = re.compile(r"\S@\S+\.\S|https?://")
UNIT = re.compile(
    r"[(（\[][^()（）\[\]]{1,12}[)）\]]|%|‰|°C|[kKmMcµnGTd]?(?:g|m|l|L|s|W|V|A|Pa|Hz|J|N|Ω|mol|bar|B|Wh)"
    r"(?:/[kmcµ]?(?:g|m|l|L|s|h|min|K|mol))?(?: ?[23²³])?|h|min|d|pcs?|USD|EUR|CNY|RMB"
    r"|(?:百|千|万|亿|百万)?(?:元|美元|欧元|个|件|人|吨|天|台|套|平方米|公里|小时)"
)
_RANGE = re.compile(
    r"\d[\d.,]*\s?(?:[-–~～至到]|to)\s?\d[\d.,]*\s?[^\W\d]{0,6}%?|\d[\d.,]*\s?[^\W\d]{0,3}(?:\+|及?以[上下内])"
    r"|[<>≤≥]=?\s?\d[\d.,]*\s?[^\W\d]{0,6}%?|(?:up to|over|under|from)\s\d[\d.,]*",
    re.IGNORECASE,
)
_DAY = re.compile(r"(\d{1,2})[/.-](\d{1,2})\.?")
_SERIES = (
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    ("januar", "februar", "märz", "april", "mai", "juni", "juli", "august", "september", "okt", "nov", "dez"),
    ("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
    ("mo", "di", "mi", "do", "fr", "sa", "so"),
    ("一", "二", "三", "四", "五", "六", "七", "八", "九", "十"),
    ("零", "一", "二", "三", "四", "五", "六", "日"),
    ("零", "一", "二", "三", "四", "五", "六", "天"),
)
_IDENTIFIER = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+|[A-Z][a-z0-9]*)+")
_NOTHING = frozenset(("-", "–", "—", "--", "/", "\\", "n/a", "na", "nil", "none", "无", "暂无", "…", "...", "·"))
_PROSE = re.compile(  # but not "Pos.", "No. of items"
    r"[。！？；]|[!?;]\s+\w|\w{4}\.\s+[A-Z\u4e00-\u9fff]|\w{7}\.\s+\w|(?:\w+\W+){3}.*\.$|\w{6}\.$|!$"
)
_COUNTED = re.compile(
    r"\d+|^[一二三四五六日]$|(?<=[第周期])[一二三四五六七八九十日天]|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec"
    r"|mon|tue|wed|thu|fri|sat|sun|januar|februar|märz|mai|juni|juli|okt|dez|di|mi|do|fr|sa|so)(?=[a-z]{0,7}\b)",
    re.IGNORECASE,
)
TOTAL = re.compile(
    r"(?:grand |sub-?|net |gross )?total\b.*|sum|(?:vat|tax|gst|mwst|discount|shipping|freight)\b.*|zwischensumme|summe"
    r"|gesamt.*|(?:sous-)?total.*|.{0,6}(?:合计|小计|总计|合計|小計|總計|总额|税额).{0,8}",
    re.IGNORECASE,
)
_WORDS = re.compile(r"[a-z\u00df-\u024f\u0400-\u04ff]+|[\u3040-\u9fff\uac00-\ud7a3]+")
# What columns are called in tables that nothing else tells apart from their header.
_NAMES = frozenset(
    re.findall(
        r"\S+",
        "name names first last surname id no number code key title type kind class category group status state "
        "city town country region address street zip email mail phone mobile fax date day month year time start "
        "end age sex gender department dept team role job position owner author manager company customer client "
        "supplier vendor brand product item sku part model description details note notes comment comments remark "
        "remarks question answer price cost amount total sum qty quantity unit units size weight height width "
        "length color colour value values result version language currency location shelf priority subject topic "
        "meaning remedy term definition parameter setting default example option field column table file path url "
        "link source target signature seal stamp by revision rev pages due fee fees service rate terms "
        "姓名 名称 名字 编号 序号 代码 编码 类别 类型 种类 分类 状态 城市 地区 国家 省份 地址 邮箱 邮编 电话 手机 "
        "传真 日期 时间 年份 月份 年龄 性别 部门 科室 团队 职位 职务 职级 岗位 角色 负责人 联系人 作者 公司 单位 "
        "客户 供应商 品牌 产品 商品 项目 型号 规格 描述 说明 备注 内容 问题 答案 价格 单价 金额 合计 总计 数量 "
        "尺寸 重量 高度 宽度 长度 颜色 数值 结果 版本 语言 币种 位置 优先级 主题 含义 定义 参数 默认值 示例 选项 "
        "薪资 婚姻 特长 爱好 签字 签名 盖章 签章 籍贯 民族 政治面貌 学历 学位 专业 院校 学校 住址 证号 号码 年月 "
        "用途 期限 方式 "
        "字段 文件 链接 来源 标准 指标 天数 条款 题目 名稱 編號 類別 類型 狀態 地區 部門 職位 電話 備註 單位 數量 "
        "vorname nachname nummer nr ort stadt land straße plz adresse datum jahr monat tag preis betrag menge anzahl "
        "einheit art typ kategorie gruppe abteilung bemerkung beschreibung titel farbe größe gewicht länge breite "
        "höhe frage antwort lieferant kunde firma standort bezeichnung "
        "nom prénom ville pays numéro prix montant quantité unité catégorie statut remarque titre couleur taille "
        "poids nombre apellido ciudad país dirección fecha año precio cantidad unidad número tipo categoría estado "
        "departamento descripción título nome cognome città indirizzo prezzo quantità numero cidade endereço preço "
        "quantidade имя фамилия название город адрес дата цена количество номер тип статус описание "
        "氏名 名前 番号 住所 日付 部署 種類 価格 이름 번호 주소 날짜 부서 종류 가격 상태",
    )
)


@lru_cache(maxsize=10_000)
def kind_of(cell: str) -> str:
    """number, date, code, long or text; empty for a cell that says nothing."""
    cell = _COMMENT.sub("", cell)
    if not cell or cell == SPANNED or cell.lower() in _NOTHING:
        return ""
    if _DATE.fullmatch(cell):
        return "date"
    if _OF_YEAR.fullmatch(cell):
        return "text"
    if _AMOUNT.fullmatch(cell):
        return "number"
    if columns(cell) > 40:
        return "long"
    digits = sum(map(str.isdigit, cell))
    if _ADDRESS.search(cell) or (digits and len(cell.split()) <= 2) or 2 * digits > len(cell):
        return "code"
    return "text"


def kinds_of(values: Iterable[str]) -> list[str]:
    return [kind for value in values if (kind := kind_of(value))]


def share_of(values: Sequence[str], kind: str) -> float:
    kinds = kinds_of(values)
    return kinds.count(kind) / len(kinds) if kinds else 0.0


def is_period(cell: str) -> bool:
    return bool(_YEAR.fullmatch(cell) or _MONTH.fullmatch(cell) or (_DATE.fullmatch(cell) and ":" not in cell))


def counting_pattern(cell: str) -> str:
    """A label that counts, with marks for its counts: `q#` for Q1; empty for other cells."""
    pattern = _COUNTED.sub("#", cell).lower() if is_label(cell) else ""
    return pattern if "#" in pattern else ""


def is_counting(cells: Sequence[str]) -> bool:
    """Whether labels of the same pattern count up or down, such as Q1, Q2."""
    counts = [[_count_in(match.group().lower()) for match in _COUNTED.finditer(cell)] for cell in cells]
    orders = (counts, [count[::-1] for count in counts])  # 3/2024, 4/2024
    return any(
        all(one < other for one, other in pairwise(order)) or all(one > other for one, other in pairwise(order))
        for order in orders
    )


def is_range(cell: str) -> bool:
    """Whether a cell names a stretch of numbers: 10-99, 100+, < 18, 60岁以上."""
    return bool(_RANGE.fullmatch(cell))


def is_next_day(one: str, other: str) -> bool:
    """Whether `other` is a day's number behind that of `one`, or a date without a year behind it."""
    if one.isascii() and one.isdigit() and other.isascii() and other.isdigit():
        return len(other) < 3 and int(other) == int(one) + 1
    days = [_DAY.fullmatch(one), _DAY.fullmatch(other)]
    if not days[0] or not days[1]:
        return False
    before, after = (tuple(map(int, day.groups())) for day in days if day)
    return before < after or before[::-1] < after[::-1]


def _count_in(text: str) -> int:
    if text.isascii() and text.isdigit():
        return int(text)
    return next((index for series in _SERIES for index, name in enumerate(series) if text.startswith(name)), 0)


def is_label(cell: str) -> bool:
    if len(cell) > _MAX_LABEL or _ADDRESS.search(cell) or _PROSE.search(cell):
        return False
    if is_period(cell):
        return True
    digits = sum(map(str.isdigit, cell))
    mostly_digits = 2 * digits > len(cell) and not any(map(str.isalpha, cell))
    return kind_of(cell) not in ("number", "date", "") and not mostly_digits


def is_name(cell: str) -> bool:
    words = _WORDS.findall(cell.lower())
    return bool(words) and (words[-1] in _NAMES or words[0] in _NAMES)


def is_short_name(cell: str) -> bool:
    return is_name(cell) and len(cell.split()) <= 2 and columns(cell) <= _MAX_SHORT_NAME


def has_names(row: Row) -> bool:
    cells = [cell for cell in row if cell and cell != SPANNED]
    return 2 * sum(map(is_name, cells)) >= len(cells)


def names_field(name: str) -> bool:
    return is_name(name) or any(name[-length:] in _NAMES for length in (2, 3) if name[-1:] > "\u2e7f")


def style_of(cell: str) -> str:
    """How the letters of a cell are written; empty in scripts without capitals."""
    if _IDENTIFIER.fullmatch(cell):
        return "identifier"
    if cell.isupper() and sum(map(str.isalpha, cell)) > 1:
        return "capitals"
    first = next(filter(str.isalpha, cell), "")
    return "small" if first.islower() else "title" if first.isupper() else ""
