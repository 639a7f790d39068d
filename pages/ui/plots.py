"""Plots in the theme's colours, with words for those who cannot see them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import streamlit as st
from babel.dates import format_skeleton

from pages.ui.i18n import language

HEIGHT = 240
_BAR_PIXELS = 30
_LABEL_PIXELS = 150  # of names beside bars; longer ones end with an ellipsis


def week_name(monday: date) -> str:
    """Such as "Nov 23" or "11/23": of the longer "11月23日", an axis leaves some out, the last one among them."""
    return str(format_skeleton("Md" if language().startswith("zh") else "MMMd", monday, locale=language()))


def bars_by_week(
    weeks: Sequence[date], series: Mapping[str, Mapping[date, float]], week: str, what: str, key: str
) -> None:
    """Stacked bars: the values of each series by the Mondays. `week` and `what` say what the axes are."""
    rows = [
        {week: week_name(monday), what: values.get(monday, 0), " ": name}
        for name, values in series.items()
        for monday in weeks
    ]
    _draw(rows, {"type": "bar", "cornerRadiusEnd": 2}, _by_week(weeks, series, week, what), key, what)


def lines_by_week(
    weeks: Sequence[date], series: Mapping[str, Mapping[date, float]], week: str, what: str, key: str
) -> None:
    """A line for each series, which is interrupted where it has no value."""
    rows = [
        {week: week_name(monday), what: values.get(monday), " ": name}
        for name, values in series.items()
        for monday in weeks
    ]
    encoding = _by_week(weeks, series, week, what, 0.1)
    _draw(rows, {"type": "line", "point": True, "strokeWidth": 2}, encoding, key, what)


def ranked_bars(values: Sequence[tuple[str, Mapping[str, float]]], name: str, what: str, key: str) -> None:
    """A bar for each name, of one or several parts, in the order that they are given in."""
    rows = [{name: each, what: value, " ": part} for each, parts in values for part, value in parts.items()]
    names = list(dict.fromkeys(each for each, _parts in values))
    encoding = {
        "y": {
            "field": name,
            "type": "nominal",
            "sort": names,
            "title": None,
            "axis": {"labelLimit": _LABEL_PIXELS, "labelOverlap": False},
        },
        "x": {"field": what, "type": "quantitative", "title": what, "axis": {"format": "~s", "tickCount": 4}},
        **_colours(dict.fromkeys(part for _each, parts in values for part in parts)),
        "tooltip": [{"field": name}, {"field": " "}, {"field": what, "format": ",.0f"}],
    }
    _draw(rows, {"type": "bar", "cornerRadiusEnd": 2}, encoding, key, what, 130 + _BAR_PIXELS * len(names))


def _by_week(
    weeks: Sequence[date], series: Iterable[str], week: str, what: str, smallest_step: float = 1
) -> dict[str, Any]:
    names = [week_name(monday) for monday in weeks]
    return {
        "x": {
            "field": week,
            "type": "ordinal",
            "sort": names,
            "title": None,
            "axis": {"labelAngle": 0, "labelOverlap": "greedy"},
        },
        "y": {
            "field": what,
            "type": "quantitative",
            "title": what,
            "axis": {"format": "~s", "tickCount": 4, "tickMinStep": smallest_step},
        },
        **_colours(series),
        "tooltip": [{"field": week}, {"field": " "}, {"field": what, "format": ",.2~f"}],
    }


def _colours(series: Iterable[str]) -> dict[str, Any]:
    names = list(series)
    legend = {"title": None, "orient": "bottom", "columns": 2, "labelLimit": 260} if len(names) > 1 else None
    return {"color": {"field": " ", "type": "nominal", "sort": names, "scale": {"domain": names}, "legend": legend}}


def _draw(
    rows: list[dict[str, Any]],
    mark: dict[str, Any],
    encoding: dict[str, Any],
    key: str,
    words: str,
    height: int = HEIGHT,
) -> None:
    spec = {"data": {"values": rows}, "mark": mark, "encoding": encoding}
    with st.container(key=key):
        st.vega_lite_chart(spec, width="stretch", height=height, alt=words)
