"""What elements show whose contents are no text: descriptions of images, values of fields, labels of diagrams."""

from __future__ import annotations

from bs4 import Tag

from kb.parsing.alt_texts import alt_text

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
        """The image's description, unless it says nothing or repeats the text beside it."""
        text = alt_text(str(image.get("alt") or ""))
        if not text:
            return ""
        around = image.find_parent(["figure", "a"])
        if around is not None:
            if id(around) not in self._around:
                self._around[id(around)] = " ".join(around.get_text(" ").split()).lower()
            if text.lower() in self._around[id(around)]:
                return ""
        return f" {text} "
