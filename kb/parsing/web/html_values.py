"""What elements show whose contents are no text: descriptions of images, values of fields, labels of diagrams."""

from __future__ import annotations

import re

from bs4 import Tag

_MAX_DESCRIPTION = 1_000  # characters of what an image is described with
_IS_FILE_NAME = re.compile(
    r"[\w%./-]*\.(?:png|jpe?g|gif|svg|webp|bmp|ico|avif)|image\d*|img[\w-]*|spacer", re.IGNORECASE
)
_FILLED_IN = ("text", "number", "date", "datetime-local", "time", "month", "week", "email", "tel", "url", "search", "")


def shown_value(tag: Tag) -> str:
    """The value of a field, or the labels of a diagram; empty for other elements, and for icons."""
    if tag.name == "select":
        chosen = tag.find_all("option", selected=True)
        return f" {', '.join(each.get_text(' ', strip=True) for each in chosen)} " if chosen else ""
    if tag.name == "input":
        kind = str(tag.get("type") or "").lower()
        if kind in ("checkbox", "radio") and not tag.get("role"):  # else it opens a menu
            return "☑ " if tag.has_attr("checked") else "☐ "
        return f" {tag.get('value')} " if kind in _FILLED_IN and tag.get("value") else ""
    if tag.name == "svg":
        labels = (label.get_text(" ", strip=True) for label in tag.find_all(["text", "foreignobject"]))
        return f" {' '.join(filter(None, labels))} "
    return ""


class Descriptions:
    """What stands for images that cannot be seen."""

    def __init__(self) -> None:
        self._around: dict[int, str] = {}  # the texts of figures and links, by id()

    def of(self, image: Tag) -> str:
        """The image's description, unless it names a file or repeats the text beside it."""
        text = " ".join(str(image.get("alt") or "").split())[:_MAX_DESCRIPTION]
        if not text or _IS_FILE_NAME.fullmatch(text):
            return ""
        around = image.find_parent(["figure", "a"])
        if around is not None:
            if id(around) not in self._around:
                self._around[id(around)] = " ".join(around.get_text(" ").split()).lower()
            if text.lower() in self._around[id(around)]:
                return ""
        return f" {text} "
