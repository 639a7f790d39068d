"""What an author wrote for readers who cannot see an image."""

from __future__ import annotations

import re

_MAX_LENGTH = 1_000  # characters
_SAYS_NOTHING = re.compile(
    r"[\w%./\\: -]*\.(?:png|jpe?g|gif|svg|webp|bmp|ico|avif|tiff?|emf|wmf)|https?://\S*"
    r"|img[\w-]*|spacer|(?:picture|image|photo|graphic|shape|figure|logo|icon|bild|grafik|imagen?|图片|图像|圖片|图形|照片|画像|図|그림)"
    r"[\W_]*\d*|(?:.*\W)?(?:description automatically generated|automatisch generierte beschreibung)\W*.*"
    r"|.*\bAI[- ]generated content may be incorrect\W*|[\da-f-]{16,}"
    r"|.*(?:AI 生成的内容可能不正确|描述已自动生成|自動產生的描述|自动生成的说明|自動的に生成された説明)\W*",
    re.IGNORECASE | re.DOTALL,
)


def alt_text(description: str | None) -> str:
    """The description as one line; empty if it only names a file or a kind, or if no person wrote it."""
    text = " ".join((description or "").split())[:_MAX_LENGTH]
    return "" if _SAYS_NOTHING.fullmatch(text) else text
