"""Which models take images, as far as their names tell, for servers do not list it."""

from __future__ import annotations

import re

_SEEING = re.compile(
    r"gpt-4o|gpt-4\.1|gpt-4\.5|gpt-4-turbo|gpt-[5-9]|chatgpt|(?:^|[/:-])o[134](?!-mini-2024)(?:-|$)"
    r"|claude-(?:3|opus|sonnet|haiku|fable)|gemini|gemma-?3(?!n?[:-]?(?:270m|1b))|llama-?4|grok-(?:[4-9]|2-vision)"
    r"|pixtral|mistral-(?:small-(?:3\.|25)|medium-3)|llava|moondream|internvl|minicpm-v|minicpm-o|kimi-vl|kimi-k2\.5"
    r"|qvq|omni|glm-\d(?:\.\d)?v|doubao-(?:seed-)?1[.-][56]|step-1[ov]|hunyuan.*vision"
    r"|vision|multimodal|(?:^|[^a-z])vl(?:[^a-z]|$)|\dvl",
    re.IGNORECASE,
)
_BLIND = re.compile(r"embed|rerank|whisper|tts|audio|realtime|gpt-3\.5|o[13]-mini", re.IGNORECASE)


def seems_to_see(model: str) -> bool:
    return bool(_SEEING.search(model)) and not _BLIND.search(model)
