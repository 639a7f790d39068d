"""Signs of symbol fonts read as people see them."""

from __future__ import annotations

import pytest

from kb.parsing.builder import clean
from kb.parsing.symbols import is_symbol_font, read_symbols


@pytest.mark.parametrize(
    ("text", "font", "read"),
    [
        ("5\uf0b10.2, \uf061 = 30\uf0b0", "Symbol", "5±0.2, α = 30°"),
        ("a", "Symbol", "α"),
        ("\uf0fe \uf0a8 \uf0fd", "Wingdings-Regular", "☑ ☐ ☒"),
        ("\uf052 \uf0a3", "ABCDEF+Wingdings2", "☑ ☐"),
        ("\uf0b7 item", "", "• item"),
        ("\uf0a7 item \uf0e0", "", "• item →"),
        ("\uf0fc", "Unknown", "✔"),
        ("\uf001", "Wingdings", ""),
        ("a ± é 字", "Arial", "a ± é 字"),
        ("a", "Segoe UI Symbol", "a"),
    ],
)
def test_symbols(text: str, font: str, read: str) -> None:
    assert read_symbols(text, font) == read


def test_clean_text_has_no_codes_of_symbol_fonts() -> None:
    every = "".join(map(chr, range(0xF000, 0xF100)))
    assert not any("\uf000" <= char <= "\uf0ff" for char in clean(every))
    assert not any(
        "\uf000" <= char <= "\uf0ff" for name in ("Symbol", "Webdings") for char in read_symbols(every, name)
    )


def test_names_of_symbol_fonts() -> None:
    assert is_symbol_font("XYZABC+Wingdings-Regular")
    assert not is_symbol_font("Noto Sans Symbols")
    assert not is_symbol_font("")
