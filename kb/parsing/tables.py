"""Rows of cells → lines of text, one a row, each of which can be understood alone.

The same for every format: titles above a table stay lines, its header is found by what the cells hold, and each row
below reads `label: value; …`. A false label would be a false statement, so rows stay `a | b` where there is a doubt.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, groupby, islice, zip_longest

from kb.columns import columns

Row = Sequence[str]
SPANNED = "\x01"  # a cell that the one on its left covers

_EXACT = 2.0**53  # up to here a float represents every whole number
_WRITTEN_OUT = 1e21
_SAMPLE_ROWS = 200
_MAX_LABEL = 120  # characters, with the group above; longer ones are prose
_MAX_KEY = 100
_MAX_HEADER_ROWS = 3  # above a gap
_LOOK_AHEAD = 50  # rows
_HEADER_COLUMNS = 800  # of rows, until their header is repeated: about a chunk
_LINE_COLUMNS = 700  # of a longer row, each line begins with its key, so that every chunk names it
_MAX_REPEATED = 200  # characters of a merged cell
_FEW_GAPS = 3  # cells for each one with text
_TITLE_ROWS = 10
_MAX_SIDE_BY_SIDE = 20_000  # rows; longer tables are read as one
_MAX_TRANSPOSED = 40  # columns
_MAX_FIELD_NAME = 40  # columns of text
_MANY_FIELDS = 0.4
_MOSTLY = 0.6
_NEXT_TO_NONE = 0.1

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
_UNIT = re.compile(
    r"[(（\[][^()（）\[\]]{1,12}[)）\]]|%|‰|°C|[kKmMcµnGTd]?(?:g|m|l|L|s|W|V|A|Pa|Hz|J|N|Ω|mol|bar|B|Wh)"
    r"(?:/[kmcµ]?(?:g|m|l|L|s|h|min|K|mol))?(?: ?[23²³])?|h|min|d|pcs?|USD|EUR|CNY|RMB"
    r"|(?:百|千|万|亿|百万)?(?:元|美元|欧元|个|件|人|吨|天|台|套|平方米|公里|小时)"
)
_IDENTIFIER = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+|[A-Z][a-z0-9]*)+")
_NOTHING = frozenset(("-", "–", "—", "--", "/", "\\", "n/a", "na", "nil", "none", "无", "暂无", "…", "...", "·"))
_PROSE = re.compile(r"[。！？；]|[.!?;]\s+\w|[.!]$")
_TOTAL = re.compile(
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
        "link source target "
        "姓名 名称 名字 编号 序号 代码 编码 类别 类型 种类 分类 状态 城市 地区 国家 省份 地址 邮箱 邮编 电话 手机 "
        "传真 日期 时间 年份 月份 年龄 性别 部门 科室 团队 职位 职务 职级 岗位 角色 负责人 联系人 作者 公司 单位 "
        "客户 供应商 品牌 产品 商品 项目 型号 规格 描述 说明 备注 内容 问题 答案 价格 单价 金额 合计 总计 数量 "
        "尺寸 重量 高度 宽度 长度 颜色 数值 结果 版本 语言 币种 位置 优先级 主题 含义 定义 参数 默认值 示例 选项 "
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


def number_text(value: float) -> str:
    """3 instead of 3.0; other numbers with the 15 digits that Office keeps, written out."""
    if float(value).is_integer() and abs(value) < _EXACT:
        return str(int(value))
    return format(Decimal(f"{value:.15g}"), "f") if abs(value) < _WRITTEN_OUT else f"{value:.15g}"


def table_lines(rows: Iterable[Row], *, header: int | None = None, is_assumed: bool = False) -> Iterator[str]:
    """The lines of a table. An empty row ends a table, and what follows is another one.

    `header` is how many rows the file says are header rows, if it does. `is_assumed`: a first row of short names is a
    header even where nothing sets it apart, as in tables that people make for readers.
    """
    width = 0
    stretches = (together for has_cells, together in groupby(map(_trim, rows), key=bool) if has_cells)
    for together in stretches if header is not None else _join_headers(stretches):
        following: Iterable[list[str]] | None = together
        while following is not None:
            block = _Block(following, header, is_assumed, width)
            yield from block.lines()
            following, width, header = block.next, block.width, None


def _join_headers(stretches: Iterable[Iterable[list[str]]]) -> Iterator[Iterable[list[str]]]:
    """The stretches of adjacent rows, where a header joins the table below it although a gap parts them."""
    held: list[list[str]] = []  # it may be the header of what follows
    for stretch in stretches:
        rows = iter(stretch)
        sample = list(islice(rows, _LOOK_AHEAD))
        if held and _heads(held, sample):
            sample = held + sample
        elif held:
            yield held
        held = []
        if len(sample) <= _MAX_HEADER_ROWS and _filled(sample[-1]) > 1:
            held = sample
        else:
            yield chain(sample, rows)
    if held:
        yield held


def _heads(top: list[list[str]], body: list[list[str]]) -> bool:
    """Whether `top` ends with names for all columns of `body`, which has none."""
    named = [index for index, cell in enumerate(top[-1]) if cell]
    unnamed = {index for row in body for index, cell in enumerate(row) if cell}.difference(named, [0])
    is_clear = len(named) > 2 or _has_names(top[-1]) or not _has_key([row[1:] for row in body])
    if unnamed or not is_clear or _Block(body, None, False, 0).find_header().labels:
        return False
    return _Block(top + body, None, False, 0).find_header().first == len(top)


def headed_lines(rows: Sequence[Row]) -> Iterator[str]:
    """The rows of a table as they stand on a page, with tabs between the cells; a long one repeats its header."""
    lines = list(map("\t".join, rows))
    if len(rows) > 2 and _is_header(rows[0], rows[1:], is_assumed=True):
        return _repeating(lines[0], (line for line in lines[1:] if line != lines[0]))
    return iter(lines)


def _repeating(first: str, lines: Iterable[str]) -> Iterator[str]:
    """The lines of a table, with its first one about once a chunk."""
    yield first
    width = columns(first)
    for line in lines:
        if width > _HEADER_COLUMNS:
            yield first
            width = columns(first)
        yield line
        width += columns(line) + 1


def below(rows: Sequence[Row], column: int) -> str:
    """The text of a cell that the one above it covers. Long texts are not repeated."""
    text = rows[-1][column] if rows and column < len(rows[-1]) else ""
    return text if len(text) <= _MAX_REPEATED else ""


def join_cells(cells: Iterable[str]) -> str:
    """A row without labels as a line; empty if all its cells are empty. Gaps show only where they are few."""
    texts = [" ".join(cell.split()) for cell in cells if cell != SPANNED]
    filled = [text for text in texts if text]
    return " | ".join(texts if len(texts) <= _FEW_GAPS * len(filled) and len(filled) > 1 else filled)


def _trim(row: Row) -> list[str]:
    """The cells as single lines, without empty ones at the end."""
    cells = [cell if cell == SPANNED else " ".join(cell.split()) for cell in row]
    while cells and not cells[-1]:
        cells.pop()
    return cells if any(cell != SPANNED for cell in cells) else []


@dataclass(frozen=True, slots=True)
class _Header:
    """The first rows of a table: `titles` rows above its header, and the header, up to row `first`."""

    titles: int
    first: int
    labels: list[str]  # of the columns; empty if there is no header


class _Block:
    """Adjacent rows: titles, a header, and the rows below. Of a long one, only the beginning is held."""

    def __init__(self, rows: Iterable[list[str]], header: int | None, is_assumed: bool, width_before: int) -> None:
        rows = iter(rows)
        self._head = list(islice(rows, _SAMPLE_ROWS))
        self._rest = rows
        self.width = max(map(len, self._head))
        self._header, self._is_assumed = header, is_assumed
        self._may_continue = self.width == width_before
        self._numeric: set[int] = set()  # columns
        self._has_codes = False  # in the first column
        self._first_label = ""  # in the header
        self.next: Iterable[list[str]] | None = None  # the rows of another table, that begins without a gap

    def lines(self) -> Iterator[str]:
        form = _form_lines(self._head) if self._header is None else []
        if form:
            yield from chain.from_iterable(form)
            others = self._head[len(form) :] or list(islice(self._rest, 1))
            self.next = chain(others, self._rest) if others else None
            return
        parts = self._side_by_side() if self._header is None else []
        beginning = list(islice(self._rest, _MAX_SIDE_BY_SIDE if parts else 0))
        self._rest = chain(beginning, self._rest)
        if parts and len(beginning) < _MAX_SIDE_BY_SIDE:
            rows = [*self._head, *beginning]
            for start, end in parts:
                yield from table_lines([row[start:end] for row in rows], is_assumed=self._is_assumed)
            return
        if self._header is None and _is_transposed(self._head):
            self._head = _transposed(self._head)
        found = self.find_header()
        yield from (join_cells(row) for row in self._head[: found.titles])
        header = self._head[found.titles : found.first]
        self._first_label = header[-1][0] if header else ""
        rest = chain(self._head[found.first :], self._rest)
        self._numeric = self._numeric_columns(found.first)
        keys = [row[0] for row in self._head[found.first :] if _filled(row) > 1]
        self._has_codes = _share(keys, "code") + _share(keys, "number") + _share(keys, "date") >= _MOSTLY
        if not found.labels:
            yield from self._unlabelled(rest)
            return
        unused = {index: label for index, label in enumerate(found.labels) if label}
        for row in rest:
            if self._is_new_header(row):
                self.next = chain([row], rest)
                break
            if _filled(row) == 1 and SPANNED in row:  # a title inside the table, perhaps
                yield from _split(join_cells(row), "")
            elif row not in header:  # some tables repeat it on each page
                yield from labelled_lines(self._labels_of(row, found.labels), row)
                if unused:
                    unused = {index: label for index, label in unused.items() if not _has_cell(row, index)}
        if unused:  # columns to be filled in
            yield join_cells(unused.values())

    def _labels_of(self, row: Row, labels: list[str]) -> list[str]:
        """The labels without that of a cell that names the row and stands in a column of something else."""
        if row[0] and len(row) > 1 and row[1]:
            return labels
        first = next(index for index, cell in enumerate(row) if cell and cell != SPANNED)
        if SPANNED in row or first > len(labels):
            return labels
        kind, is_named = _kind(row[first]), bool(_TOTAL.fullmatch(row[first]))
        is_title = first == 0 and _filled(row) == 1 and self.width > 2 and kind == "text" and self._has_codes
        is_beside = first > 0 and _filled(row) > 1
        if is_title or (is_beside and (is_named or (kind == "text" and first in self._numeric))):
            return [*labels[:first], "", *labels[first + 1 :]]
        return labels

    def _unlabelled(self, rows: Iterator[list[str]]) -> Iterator[str]:
        """Rows as they are. If the first one may be a header, it comes back about once a chunk."""
        first = next(rows, [])
        lines = (line for row in rows for line in _split(join_cells(row), ""))
        may_head = _filled(first) > 2 and all(_is_label(cell) for cell in first if cell and cell != SPANNED)
        if may_head and first not in self._head[1:]:
            yield from _repeating(join_cells(first), lines)
        else:
            yield from _split(join_cells(first), "")
            yield from lines

    def find_header(self) -> _Header:
        rows = self._head
        if self._header is not None:
            first = min(self._header, len(rows) - 1)
            return _Header(0, first, _labels(rows[:first]) if first else [])
        titles = _count_titles(rows, self._is_assumed)
        for depth in (1, 2, 3):
            top, body = rows[titles : titles + depth], rows[titles + depth :]
            if len(top) < depth or not body:
                break
            if depth > 1 and not _is_deeper(top, body):
                break
            if _is_header(_merged(top), body, self._is_assumed and self.width > 2):
                deeper = rows[titles : titles + depth + 1]
                if len(deeper) > depth and body[1:] and _is_deeper(deeper, body[1:]):
                    continue
                if self._may_continue and not titles and not _has_names(_merged(top)):
                    break  # perhaps the table above goes on behind a gap
                return _Header(titles, titles + depth, _labels(top))
        return _Header(titles, titles, [])

    def _numeric_columns(self, first: int) -> set[int]:
        body = self._head[first : first + 20]
        return {
            index
            for index in range(self.width)
            if _share([row[index] for row in body if index < len(row) and row[index]], "number") >= _MOSTLY
        }

    def _is_new_header(self, row: Row) -> bool:
        """Whether `row` has names where the rows above have numbers."""
        kinds = [_kind(row[index]) for index in self._numeric if index < len(row)]
        names = kinds.count("text")
        is_alike = bool(row and self._first_label and row[0] == self._first_label)
        return (
            names > 1 - is_alike
            and names >= sum(1 for kind in kinds if kind)
            and all(_is_label(c) for c in row if _kind(c))
        )

    def _side_by_side(self) -> list[tuple[int, int]]:
        """The columns of each table, where several stand beside each other with empty columns between."""
        used = [any(index < len(row) and row[index] for row in self._head) for index in range(self.width)]
        parts = _runs(used)
        if len(parts) < 2 or any(end - start < 2 for start, end in parts):
            return []
        lines_before: list[int] = []
        for start, end in parts:
            lines = [index for index, row in enumerate(self._head) if _trim(row[start:end])]
            rows = [_trim(self._head[index][start:end]) for index in lines]
            titles = _count_titles(rows, self._is_assumed)
            body = rows[titles + 1 :]
            if not body or not _is_header(rows[titles], body, self._is_assumed):
                return []
            if lines == lines_before and not _has_key(body):
                return []  # figures beside each row of the table on their left belong to it
            lines_before = lines
        return parts


# --- where the header is ---


def _has_cell(row: Row, index: int) -> bool:
    return index < len(row) and row[index] not in ("", SPANNED)


def _filled(row: Row) -> int:
    return sum(1 for cell in row if cell and cell != SPANNED)


def _covered(row: Row) -> int:
    return sum(1 for cell in row if cell)


def _count_titles(rows: Sequence[Row], is_assumed: bool) -> int:
    """How many rows stand above the header: those with one cell, or fewer than the header that follows."""
    widest = max(map(_covered, rows))
    titles = 0
    for index, row in enumerate(rows[: min(_TITLE_ROWS, len(rows) - 1)]):
        if _filled(row) <= 1 and widest > 1 and (row[0] or SPANNED not in row):
            titles = index + 1
        elif (
            _covered(row) == widest
            or not row[0]
            or SPANNED in row
            or _is_group(row, rows[index + 1])
            or not any(
                _covered(rows[later]) > _covered(row) and _is_header(rows[later], rows[later + 1 :], is_assumed)
                for later in range(index + 1, min(_TITLE_ROWS, len(rows)))
            )
        ):
            break
        else:
            titles = index + 1
    return titles if titles < len(rows) else 0


def _is_group(row: Row, below: Row) -> bool:
    """Whether `row` names groups of the columns that `below` names: its gaps are where `below` goes on."""
    if _parted_groups(row, [below]):
        return True
    gaps = [index for index, cell in enumerate(row) if not cell or cell == SPANNED]
    return bool(gaps) and all(index < len(below) and below[index] for index in gaps)


def _is_deeper(top: Sequence[Row], body: Sequence[Row]) -> bool:
    """Whether the last row of `top` belongs to the header, under the rows above it: groups, or units."""
    above, last = top[-2], top[-1]
    cells = [cell for cell in last if cell and cell != SPANNED]
    if not cells or not all(map(_is_label, cells)):
        return False
    if all(map(_UNIT.fullmatch, cells)) and any(_kind(cell) == "number" for row in body[:20] for cell in row):
        return True
    has_groups = SPANNED in above or _is_group(above, last) or len(last) > len(above)
    return has_groups and _is_header(_merged(top), body, False)


def _is_header(row: Row, body: Sequence[Row], is_assumed: bool) -> bool:
    """Whether the cells of `row` name the columns of `body`."""
    cells = [cell for cell in row if cell and cell != SPANNED]
    if len(cells) < 2 or not all(map(_is_label, cells)):
        return False
    periods = [cell for cell in cells if _is_period(cell)]
    if len(periods) == len(cells) and row[0]:
        return False
    body = _until_header_like(row, body[:50])
    values: list[list[str]] = [
        [other[index] for other in body if index < len(other) and other[index] not in ("", SPANNED)]
        for index in range(len(row))
    ]
    recurring = [index for index, cell in enumerate(row) if cell and cell != SPANNED and cell in values[index]]
    if recurring and (recurring != [0] or len(cells) == 2):  # the first one may head another table below
        return False
    if periods and not any(_share(column, "number") >= _MOSTLY for column in values):
        return False
    if len(cells) == 2 and sum(1 for value in values[0] if _is_name(value)) > 1:
        return False  # a list of names and values
    contrasts = [index for index, cell in enumerate(row) if cell and _contrasts(cell, values[index])]
    if len(cells) == 2 and len(row) == 2:
        return all(map(_is_name, row)) or (bool(contrasts) and (contrasts != [1] or _share(values[1], "number") == 1))
    return bool(contrasts) or _has_names(row) or is_assumed or _is_spelt_apart(cells, chain.from_iterable(values))


def _until_header_like(header: Row, body: Sequence[Row]) -> Sequence[Row]:
    """The rows before one that heads another table with names like those of `header`."""
    for index, row in enumerate(body):
        alike = sum(1 for cell, other in zip(header, row, strict=False) if cell and cell == other and cell != SPANNED)
        if index and alike > 1 and all(_is_label(cell) for cell in row if cell and cell != SPANNED):
            return body[:index]
    return body


def _is_spelt_apart(cells: Sequence[str], values: Iterable[str]) -> bool:
    """Whether all `cells` are in capitals, in small letters, or spelt as in programs, and next to no value is."""
    styles = set(map(_style, cells))
    if len(styles) > 1 or not styles.isdisjoint({"", "title"}):
        return False
    below = [style for value in values if (style := _style(value))]
    return len(below) >= len(cells) and sum(1 for style in below if style in styles) <= _NEXT_TO_NONE * len(below)


def _style(cell: str) -> str:
    """How the letters of a cell are written; empty in scripts without capitals."""
    if _IDENTIFIER.fullmatch(cell):
        return "identifier"
    if cell.isupper() and sum(map(str.isalpha, cell)) > 1:
        return "capitals"
    first = next(filter(str.isalpha, cell), "")
    return "small" if first.islower() else "title" if first.isupper() else ""


def _contrasts(cell: str, values: Sequence[str]) -> bool:
    """Whether `cell` is of another kind than what stands below it."""
    kind = "text" if _is_period(cell) else _kind(cell)
    for other in ("number", "date", "code", "long"):
        if kind != other and _share(values, other) >= _MOSTLY:
            return True
    distinct = set(values)
    return len(values) >= 6 and len(distinct) <= len(values) // 3


def _share(values: Sequence[str], kind: str) -> float:
    kinds = _kinds(values)
    return kinds.count(kind) / len(kinds) if kinds else 0.0


def _has_key(rows: Sequence[Row]) -> bool:
    """Whether any column tells what the row is about, as figures alone do not."""
    kinds_by_column = map(_kinds, zip_longest(*rows, fillvalue=""))
    return any(kinds and kinds.count("number") < _MOSTLY * len(kinds) for kinds in kinds_by_column)


def _kinds(values: Iterable[str]) -> list[str]:
    return [kind for value in values if (kind := _kind(value))]


def _kind(cell: str) -> str:
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


def _is_period(cell: str) -> bool:
    return bool(_YEAR.fullmatch(cell) or _MONTH.fullmatch(cell) or (_DATE.fullmatch(cell) and ":" not in cell))


def _is_label(cell: str) -> bool:
    if len(cell) > _MAX_LABEL or _ADDRESS.search(cell) or _PROSE.search(cell):
        return False
    if _is_period(cell):
        return True
    digits = sum(map(str.isdigit, cell))
    mostly_digits = 2 * digits > len(cell) and not any(map(str.isalpha, cell))
    return _kind(cell) not in ("number", "date", "") and not mostly_digits


def _is_name(cell: str) -> bool:
    words = _WORDS.findall(cell.lower())
    return bool(words) and (words[-1] in _NAMES or words[0] in _NAMES)


def _has_names(row: Row) -> bool:
    cells = [cell for cell in row if cell and cell != SPANNED]
    return 2 * sum(map(_is_name, cells)) >= len(cells)


def _is_transposed(rows: Sequence[Row]) -> bool:
    """Whether the first column names what each row holds: each is of one kind, and the columns are mixed."""
    body = [row for row in rows if _filled(row) > 1]
    width = len(rows[0])
    if not 3 <= len(rows) <= _SAMPLE_ROWS // 2 or len(body) < len(rows) or not 3 <= width <= _MAX_TRANSPOSED:
        return False
    if any(len(row) != width or not _is_label(row[0]) or SPANNED in row for row in rows):
        return False
    kinds = [{each for cell in row[1:] if (each := _kind(cell))} for row in rows]
    numeric = [kind <= {"number", "date"} for kind in kinds]
    if not all(len(kind) == 1 for kind in kinds) or all(numeric[1:]) or not any(numeric):
        return False
    names = [row[0] for row in rows]
    return len(set(names)) == len(names) and 2 * sum(map(_is_name, names)) >= len(names)


# --- forms: names of fields with what is filled in beside them ---


def _form_lines(rows: Sequence[Row]) -> list[list[str]]:
    """The lines of each of the first rows, as far as they are a form with several fields in a row; else none."""
    used = [index for index in range(max(map(len, rows))) if any(_covered(row[index : index + 1]) for row in rows)]
    seen: set[str] = set()
    form: list[list[str]] = []
    fields: list[list[tuple[str, str]]] = []
    for row in rows:
        if _filled(row) == 1 and (SPANNED in row or not fields):
            form.append([join_cells(row)])
            continue
        of_row = _fields([row[index] for index in used if index < len(row)])
        names = [name for name, _value in of_row]
        if not of_row or seen.intersection(names) or len(set(names)) < len(names):
            break
        seen.update(names)
        fields.append(of_row)
        form.append(list(labelled_lines(names, [value for _name, value in of_row])))
    return form if _is_form(fields) else []


def _is_form(fields: Sequence[Sequence[tuple[str, str]]]) -> bool:
    """Whether the names are names of fields: some in at least two rows, and at each place of a row."""
    named = [[_names_field(name) for name, _value in row] for row in fields]
    many = sum(1 for row in fields if len(row) > 1)
    total = sum(map(len, named))
    places = list(zip_longest(*named, fillvalue=False))
    return (
        many > 0 and sum(map(any, named)) > 1 and all(map(any, places)) and sum(map(sum, named)) >= _MANY_FIELDS * total
    )


def _fields(row: Row) -> list[tuple[str, str]]:
    """The names and values that alternate in a row; none if they do not."""
    cells = [cell for cell in row if cell != SPANNED]
    names, values = cells[::2], [*cells[1::2], ""]
    if any(map(_is_name, values)) or not all(_is_field_name(name) for name in names):
        return []
    return [(name.rstrip(":： "), value) for name, value in zip(names, values, strict=False)]


def _is_field_name(cell: str) -> bool:
    return _is_label(cell) and columns(cell) <= _MAX_FIELD_NAME and _kind(cell) == "text"


def _names_field(name: str) -> bool:
    return _is_name(name) or any(name[-length:] in _NAMES for length in (2, 3) if name[-1:] > "\u2e7f")


def _transposed(rows: Sequence[Row]) -> list[list[str]]:
    return [list(cells) for cells in zip(*rows, strict=True)]


# --- labels ---


def _merged(top: Sequence[Row]) -> list[str]:
    """The header's rows as one: each column's names from the top down, groups repeated over their columns."""
    width = max(map(len, top))
    filled = [_spread(row, top[depth + 1 :], width) for depth, row in enumerate(top)]
    merged = []
    for index in range(width):
        names = list(dict.fromkeys(row[index] for row in filled if row[index]))
        if len(names) > 1 and _UNIT.fullmatch(names[-1]) and names[-1][0] not in "(（[":
            names[-1] = f"({names[-1]})"
        merged.append(" ".join(names))
    return merged


def _spread(row: Row, below: Sequence[Row], width: int) -> list[str]:
    """`row` with the name of each group in all its columns."""
    cells = [*row, *[""] * (width - len(row))]
    groups = _parted_groups(cells, below)
    for start, end in groups:
        cells[start:end] = [next(cell for cell in cells[start:end] if cell and cell != SPANNED)] * (end - start)
    for index in range(1, width) if not groups else ():
        is_inside = not cells[index] and any(index < len(each) and each[index] for each in below)
        is_under_group = cells[index - 1] and any(index - 1 < len(each) and each[index - 1] for each in below)
        if cells[index] == SPANNED or (is_inside and is_under_group and index > 1):
            cells[index] = cells[index - 1]
    return ["" if cell == SPANNED else cell for cell in cells]


def _parted_groups(row: Row, below: Sequence[Row]) -> list[tuple[int, int]]:
    """The columns of each group, where empty columns part them and `row` names each group anywhere above it."""
    runs = _runs(below[-1]) if below else []
    has_groups = any(end - start > 1 for start, end in runs)
    return runs if len(runs) > 1 and has_groups and all(_filled(row[start:end]) == 1 for start, end in runs) else []


def _runs(cells: Iterable[object]) -> list[tuple[int, int]]:
    """The stretches without gaps."""
    runs, start = [], 0
    for is_filled, group in groupby(map(bool, cells)):
        end = start + sum(1 for _ in group)
        if is_filled:
            runs.append((start, end))
        start = end
    return runs


def _labels(top: Sequence[Row]) -> list[str]:
    """A label for each column; names that are used twice are numbered."""
    labels = _merged(top)
    counts = Counter(labels)
    seen: Counter[str] = Counter()
    for index, label in enumerate(labels):
        if label and counts[label] > 1:
            seen[label] += 1
            labels[index] = f"{label} ({seen[label]})"
    return labels


# --- lines ---


@dataclass(slots=True)
class _Cell:
    label: str
    text: str

    def __str__(self) -> str:
        return f"{self.label}: {self.text}" if self.label else self.text


def labelled_lines(labels: Row, row: Row) -> Iterator[str]:
    """The row as a line, `label: text; …`; a long one as several, each with its key before."""
    cells = [
        _Cell(labels[index] if index < len(labels) else "", text)
        for index, text in enumerate(row)
        if text and text != SPANNED
    ]
    line = "; ".join(map(str, cells))
    if columns(line) <= _LINE_COLUMNS:
        yield line
        return
    key = next((str(cell) for cell in cells[:3] if len(str(cell)) <= _MAX_KEY), "")
    pieces: list[str] = []
    width = 0
    for cell in cells:
        for text in _split(cell.text, cell.label):
            if pieces and width + columns(text) > _LINE_COLUMNS:
                yield "; ".join(pieces)
                pieces, width = ([key], columns(key)) if key and text != key else ([], 0)
            pieces.append(text)
            width += columns(text) + 2
    yield "; ".join(pieces)


def _split(text: str, label: str) -> Iterator[str]:
    """`label: text`, in pieces if it is too long for a line, cut after sentences or words."""
    before = f"{label}: " if label else ""
    limit = _LINE_COLUMNS - _MAX_KEY - columns(before)
    while columns(text) > limit:
        end = max(1, limit // 2) if columns(text) > len(text) else limit
        cuts = (text.rfind(mark, end // 2, end) for mark in ("。", ". ", "；", "; ", "，", ", ", " "))
        cut = next((cut + 1 for cut in cuts if cut > 0), end)
        yield before + text[:cut].strip()
        text = text[cut:].strip()
    if text:
        yield before + text
