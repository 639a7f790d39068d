"""What charts say in words and numbers."""

from __future__ import annotations

from lxml import etree

from kb.parsing.office.charts import chart_tables, chart_titles

_C = "http://schemas.openxmlformats.org/drawingml/2006/chart"


def points(*texts: str, code: str = "General") -> str:
    listed = "".join(f'<c:pt idx="{place}"><c:v>{text}</c:v></c:pt>' for place, text in enumerate(texts) if text)
    return f"<c:formatCode>{code}</c:formatCode>{listed}"


def chart(content: str) -> etree._Element:
    return etree.fromstring(f'<c:chartSpace xmlns:c="{_C}">{content}</c:chartSpace>')


def series(name: str, categories: str, values: str) -> str:
    name = f"<c:tx><c:strRef><c:strCache>{points(name)}</c:strCache></c:strRef></c:tx>"
    return f"<c:ser>{name}{categories}{values}</c:ser>"


def numbers(name: str, *texts: str, code: str = "General") -> str:
    return f"<c:{name}><c:numRef><c:numCache>{points(*texts, code=code)}</c:numCache></c:numRef></c:{name}>"


def test_series_with_the_same_categories_are_one_table() -> None:
    years = numbers("cat", "45352", "45383", code="mmm yyyy")
    found = chart(
        series("Share", years, numbers("val", "0.125", "0.5", code="0.0%"))
        + series("Cost", years, numbers("val", "", "3"))
        + series("Pump", numbers("xVal", "1", "3"), numbers("yVal", "2", "#N/A"))
    )
    assert list(chart_tables(found)) == [
        [["", "Share", "Cost"], ["Mar 2024", "12.5%", ""], ["Apr 2024", "50.0%", "3"]],
        [["", "Pump"], ["1", "2"], ["3", "#N/A"]],
    ]


def test_levels_of_categories_are_joined() -> None:
    levels = f"<c:lvl>{points('Q1', 'Q2', 'Q1')}</c:lvl><c:lvl>{points('2023', '', '2024')}</c:lvl>"
    categories = (
        f"<c:cat><c:multiLvlStrRef><c:multiLvlStrCache>{levels}</c:multiLvlStrCache></c:multiLvlStrRef></c:cat>"
    )
    found = chart(series("Sales", categories, numbers("val", "1", "2", "3")))
    assert list(chart_tables(found)) == [[["", "Sales"], ["2023 Q1", "1"], ["2023 Q2", "2"], ["2024 Q1", "3"]]]


def test_titles_of_a_chart_and_its_axes() -> None:
    a = "http://schemas.openxmlformats.org/drawingml/2006/main"
    text = "<c:title><c:tx><c:rich><a:p xmlns:a='{}'><a:r><a:t>{}</a:t></a:r></a:p></c:rich></c:tx></c:title>"
    content = text.format(a, "Strong quarter") + f"<c:valAx>{text.format(a, 'EUR million')}</c:valAx>"
    assert list(chart_titles(chart(content))) == ["Strong quarter", "EUR million"]
