"""Charts of Office (DrawingML: ECMA-376, part 1, 21.2): their titles, and the numbers that the file keeps."""

from __future__ import annotations

from collections.abc import Iterator

from kb.parsing.elements import Element
from kb.parsing.office.number_formats import GENERAL, format_number

_MAX_POINTS = 5_000  # of a series
_MAX_SERIES = 500

_Points = dict[int, str]


def chart_titles(chart: Element) -> Iterator[str]:
    """The titles of a chart and of its axes."""
    for title in chart.iter("{*}title"):
        text = " ".join("".join(each.text or "" for each in title.iter("{*}t", "{*}v")).split())
        if text:
            yield text


def chart_tables(chart: Element) -> Iterator[list[list[str]]]:
    """The series with the same categories as one table, with a header of one row. Very long ones are left out."""
    tables: list[tuple[_Points, list[tuple[str, _Points]]]] = []
    for number, series in enumerate(chart.iter("{*}ser"), start=1):
        values = _points(series, "{*}val", "{*}yVal")
        categories = _points(series, "{*}cat", "{*}xVal")
        if number > _MAX_SERIES or not 0 < len(values) <= _MAX_POINTS:
            continue
        name = " ".join(
            "".join(each.text or "" for part in series.iterchildren("{*}tx") for each in part.iter("{*}v")).split()
        )
        if not tables or (categories and categories != tables[-1][0]):
            tables.append((categories, []))
        tables[-1][1].append((name or f"({number})", values))
    for categories, columns in tables:
        places = sorted({*categories, *(place for _name, values in columns for place in values)})
        rows = [
            [categories.get(place, str(place + 1)), *(values.get(place, "") for _name, values in columns)]
            for place in places
        ]
        yield [["", *(name for name, _values in columns)], *rows]


def _points(series: Element, *names: str) -> _Points:
    """The texts or numbers of a series by place, in their number formats; levels of categories are joined."""
    part = next(series.iterchildren(*names), None)
    if part is None:
        return {}
    levels = list(part.iter("{*}lvl"))  # the innermost comes first
    found = _of_level(part, levels[0] if levels else part)
    for level in levels[1:]:
        outer, name = _of_level(part, level), ""
        for place in sorted(found):  # a name stands only where it changes
            name = outer.get(place, name)
            found[place] = f"{name} {found[place]}".strip()
    return found


def _of_level(part: Element, level: Element) -> _Points:
    code = part.findtext(".//{*}formatCode") or GENERAL
    return {
        int(point.get("idx") or 0): _shown(point.findtext("{*}v") or "", part, point.get("formatCode") or code)
        for point in level.iter("{*}pt")
    }


def _shown(text: str, part: Element, code: str) -> str:
    if next(part.iter("{*}numCache", "{*}numLit"), None) is None:
        return text
    try:
        return format_number(float(text), code)
    except ValueError:  # such as #N/A
        return text
