"""Replies of models that were asked for one line."""

from __future__ import annotations

import json
from collections.abc import Sequence


def lines_of(reply: str) -> Sequence[str]:
    """The lines of a reply without the fence around them.

    Of a JSON object, as models give that are used to it, the one text in it; no lines if there is not just one.
    """
    lines = [line for line in reply.splitlines() if not line.strip().startswith("```")]
    text = "\n".join(lines).strip()
    if not (text.startswith("{") and text.endswith("}")):
        return lines
    try:
        texts = [value for value in json.loads(text).values() if isinstance(value, str)]
    except (ValueError, RecursionError):
        return []
    return texts[0].splitlines() if len(texts) == 1 else []
