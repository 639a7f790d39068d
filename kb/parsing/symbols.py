"""Characters of symbol fonts, which stand at U+F020 to U+F0FF or in place of letters → the signs that people see."""

from __future__ import annotations

import re
from functools import lru_cache

_SYMBOL_ASCII = " !∀#∃%&∋()∗+,−./0123456789:;<=>?≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼"
_SYMBOL_HIGH = "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…⏐⎯↵ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓◊〈®©™∑⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪ 〉∫⌠⎮⌡⎞⎟⎠⎤⎥⎦⎫⎬⎭ "
_WINGDINGS_ASCII = (
    " ✏✂✁👓🔔📖🕯☎✆✉📩📪📫📬📭📁📂📄📃📑🗄⌛⌨🖰🖲🖥💾💾💾✇✍✍✌👌👍👎☜☞☝☟✋☺😐☹💣☠🏳"
    "🏱✈☼💧❄✝✞✝✠✡☪☯ॐ☸♈♉♊♋♌♍♎♏♐♑♒♓&&●○■☐☐☐☐⬧⧫◆❖⬥☒⍓⌘❀✿❝❞"
)
_WINGDINGS_HIGH = (
    "⓪①②③④⑤⑥⑦⑧⑨⑩⓿❶❷❸❹❺❻❼❽❾❿❧☙❧☙❧☙❧☙·•▪○◉◉◉◎○•☐✦✦★✶✴✹✵⌖⌖⟡⌑⌑✪✰🕐🕑🕒🕓🕔🕕🕖🕗🕘🕙🕚🕛"
    "↩↪↩↪↩↪↩↪❧☙❧☙❧☙❧☙❧☙⌫⌦⮘➢⮙⮛⮈➲⮉⮋←→↑↓↖↗↙↘⬅➔⬆⬇↖↗↙↘⇦⇨⇧⇩⬄⇳↖↗↙↘▭▫✗✔☒☑"
)
_WINGDINGS_2 = str.maketrans(
    {
        **dict(zip(range(0x4F, 0x5A), "✗✓☒☑☒☒☒⊘⊘&&", strict=True)),
        **dict(zip(range(0x69, 0x80), "⓪①②③④⑤⑥⑦⑧⑨⑩⓿❶❷❸❹❺❻❼❽❾❿●", strict=True)),
        **dict(zip(range(0x95, 0xA2), "·••●●○○◉◉◉◎⊙▪", strict=True)),
        **dict(zip(range(0xA2, 0xAA), "■☐☐☐☐☐■▪", strict=True)),
        **dict(zip(range(0xAA, 0xB2), "◆◇◈◆❖◊◆◇", strict=True)),
    }
)
_WINGDINGS_3 = str.maketrans(
    {
        **dict(zip(range(0x21, 0x2A), "→↑↓↖↗↙↘↔↕", strict=True)),
        **dict(zip(range(0x66, 0x6C), "←→↑↓↖↗", strict=True)),
        **dict(zip(range(0x70, 0x80), "▲▼△▽◀▶◁▷◣◢◤◥▲▼◀▶", strict=True)),
        **dict(zip(range(0x80, 0x86), "▶◀▶▲▼◀", strict=True)),
    }
)
_WEBDINGS = str.maketrans(
    {0x61: "✔", 0x63: "☐", 0x67: "■", 0x6E: "●", 0x72: "✗", 0x34: "▶", 0x33: "◀", 0x35: "▲", 0x36: "▼", 0x3D: "▪"}
)
_SYMBOL = dict(enumerate(_SYMBOL_ASCII, 0x20)) | dict(enumerate(_SYMBOL_HIGH, 0xA0))
_WINGDINGS = dict(enumerate(_WINGDINGS_ASCII, 0x20)) | dict(enumerate(_WINGDINGS_HIGH, 0x80))
_FONTS = (  # the first that the font's name contains
    ("wingdings2", _WINGDINGS_2),
    ("wingdings3", _WINGDINGS_3),
    ("wingdings", _WINGDINGS),
    ("webdings", _WEBDINGS),
    ("symbol", _SYMBOL),
)
# Without a font's name: Wingdings, but for what is common in the others, as the bullet of Symbol.
_UNNAMED = {**_WINGDINGS, 0xB7: "•", 0x52: "☑", 0xA3: "☐", 0xD7: "×", 0xAE: "→", 0xB1: "±", 0xB0: "°"}
_PRIVATE = re.compile("[\uf000-\uf0ff]")
_OTHER_SIGN = "•"
_NO_SYMBOLS = ("segoe", "emoji", "noto", "symbola")  # fonts named so hold ordinary characters


def read_symbols(text: str, font: str = "") -> str:
    """`text` with its private-use characters replaced; those of a symbol `font` may also stand in place of letters."""
    signs = _signs(font)
    if signs is not None:
        text = "".join(signs.get(ord(char), char) if char <= "\xff" else char for char in text)
    return _PRIVATE.sub(lambda match: _sign(match.group(), signs or _UNNAMED), text)


def is_symbol_font(font: str) -> bool:
    """Whether the letters of `font` are signs."""
    return _signs(font) is not None


@lru_cache(maxsize=200)
def _signs(font: str) -> dict[int, str] | None:
    """What the codes of a symbol font mean; None for any other font."""
    name = re.sub(r"[\s_-]", "", font.lower())
    if any(known in name for known in _NO_SYMBOLS):
        return None
    return next((signs for known, signs in _FONTS if known in name), None)


def _sign(char: str, signs: dict[int, str]) -> str:
    code = ord(char) - 0xF000
    if code < 0x20:
        return ""
    return signs.get(code, _OTHER_SIGN)
