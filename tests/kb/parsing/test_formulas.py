"""Formulas as one line of TeX."""

from __future__ import annotations

import pytest
from lxml import etree

from kb.parsing.formulas import mathml_text, omml_text
from kb.parsing.office.equation_fields import equation_text

_M = "http://schemas.openxmlformats.org/officeDocument/2006/math"


def t(text: str) -> str:
    return f"<m:r><m:t>{text}</m:t></m:r>"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (f"<m:f><m:num>{t('3')}</m:num><m:den>{t('4')}</m:den></m:f>", "3/4"),
        (f"<m:f><m:num>{t('a+b')}</m:num><m:den>{t('c')}</m:den></m:f>", "\\frac{a+b}{c}"),
        (f"<m:f><m:num>{t('-b')}</m:num><m:den>{t('2a')}</m:den></m:f>{t('c')}", "\\frac{-b}{2a}c"),
        (f"<m:f><m:num>{t('1')}</m:num><m:den>{t('2')}</m:den></m:f>{t('m')}", "1/2 m"),
        (f"<m:f><m:num>{t('1')}</m:num><m:den>{t('2')}</m:den></m:f>{t('+x')}", "1/2+x"),
        (f"<m:sSup><m:e>{t('10')}</m:e><m:sup>{t('6')}</m:sup></m:sSup>", "10^6"),
        (f"<m:sSup><m:e>{t('x')}</m:e><m:sup>{t('n+1')}</m:sup></m:sSup>", "x^{n+1}"),
        (f"<m:sSub><m:e>{t('v')}</m:e><m:sub>{t('max')}</m:sub></m:sSub>", "v_{max}"),
        (f"<m:rad><m:deg/><m:e>{t('2')}</m:e></m:rad>", "\\sqrt{2}"),
        (f"<m:rad><m:deg>{t('3')}</m:deg><m:e>{t('x')}</m:e></m:rad>", "\\sqrt[3]{x}"),
        (
            f'<m:nary><m:naryPr><m:chr m:val="∑"/></m:naryPr><m:sub>{t("i=1")}</m:sub><m:sup>{t("n")}</m:sup>'
            f"<m:e>{t('i')}</m:e></m:nary>",
            "\\sum_{i=1}^n i",
        ),
        (f"<m:d><m:e>{t('a')}</m:e></m:d>", "(a)"),
        (f'<m:d><m:dPr><m:begChr m:val="["/><m:endChr m:val="]"/></m:dPr><m:e>{t("a")}</m:e></m:d>', "[a]"),
        (f"<m:func><m:fName>{t('sin')}</m:fName><m:e>{t('θ')}</m:e></m:func>", "\\sin θ"),
        (f"<m:m><m:mr><m:e>{t('1')}</m:e><m:e>{t('0')}</m:e></m:mr></m:m>", "\\begin{matrix} 1 & 0 \\end{matrix}"),
        (t("𝑥=𝟐"), "x=2"),
    ],
)
def test_office_formulas(content: str, text: str) -> None:
    assert omml_text(etree.fromstring(f'<m:oMath xmlns:m="{_M}">{content}</m:oMath>')) == text


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<mfrac><mn>3</mn><mn>4</mn></mfrac>", "3/4"),
        ("<mi>E</mi><mo>=</mo><mi>m</mi><msup><mi>c</mi><mn>2</mn></msup>", "E=mc^2"),
        ("<msqrt><msup><mi>b</mi><mn>2</mn></msup><mo>-</mo><mn>4</mn></msqrt>", "\\sqrt{b^2-4}"),
        ("<munderover><mo>∑</mo><mi>i</mi><mi>n</mi></munderover>", "\\sum_i^n"),
        ("<mover><mi>v</mi><mo>→</mo></mover>", "\\vec{v}"),
        ("<mfenced><mi>a</mi><mi>b</mi></mfenced>", "(a,b)"),
        ("<msup><mi>x</mi></msup>", "x"),
        (
            "<semantics><mrow><mi>x</mi></mrow><annotation encoding='application/x-tex'>x^{2}</annotation></semantics>",
            "x^{2}",
        ),
    ],
)
def test_formulas_of_web_pages(content: str, text: str) -> None:
    assert mathml_text(etree.fromstring(f"<math>{content}</math>")) == text


@pytest.mark.parametrize(
    ("instruction", "text"),
    [
        (" EQ \\f(3,4) ", "3/4"),
        ("eq x=\\f(-b,2a)", "x=\\frac{-b}{2a}"),
        (r"EQ \r(3,x)+\r(2)", "\\sqrt[3]{x}+\\sqrt{2}"),
        (r"EQ \o\ac(○,12)", "⑫"),
        (r"EQ m\s\up8(2)", "m^{2}"),
        (r"EQ \i\su(1,5,\f(n,2))", "\\sum_{1}^{5} n/2"),
        (r"EQ \b\bc\[(a\,b)", "(a,b)"),
        (r'EQ \* jc2 \* "Font:MS Mincho" \* hps22 \o\ad(\s\up 10(とうきょう),東京)', "東京"),
        ("PAGE", ""),
    ],
)
def test_fields_of_old_formulas(instruction: str, text: str) -> None:
    assert equation_text(instruction) == text


def test_fields_within_fields_end() -> None:
    assert len(equation_text("EQ " + "\\f(" * 5_000)) < 20_000
