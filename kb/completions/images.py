"""Images in the messages to a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kb.prompts import ChatMessage


def with_images(
    messages: Sequence[ChatMessage], images: Sequence[str], is_for_responses: bool = False
) -> list[dict[str, Any]]:
    """The messages as OpenAI's protocol has them; the images stand in the last one of the user, before its text.

    `is_for_responses`: as the responses endpoint wants them.
    """
    sent: list[dict[str, Any]] = [{"role": role, "content": text} for role, text in messages]
    if not images:
        return sent
    asked = next(each for each in reversed(sent) if each["role"] == "user")
    if is_for_responses:
        shown: list[dict[str, Any]] = [{"type": "input_image", "image_url": image} for image in images]
        asked["content"] = [*shown, {"type": "input_text", "text": asked["content"]}]
    else:
        shown = [{"type": "image_url", "image_url": {"url": image}} for image in images]
        asked["content"] = [*shown, {"type": "text", "text": asked["content"]}]
    return sent
