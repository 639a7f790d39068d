"""Text files are decoded correctly in the encodings that people use."""

from __future__ import annotations

import pytest

from kb.parsing.decoding import decode

SIMPLIFIED = ["知识库", "中文测试", "联通", "员工请假须提前三天提交申请。", "苹果香蕉", "第1章 Introduction 引言"]
TRADITIONAL = ["知識庫", "員工請假須提前三天提交申請。", "中華民國臺灣地區", "蘋果香蕉", "採購合約 2024"]
JAPANESE = ["こんにちは、世界", "東京都は日本の首都です。", "株式会社の設立について"]


@pytest.mark.parametrize("text", SIMPLIFIED)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030", "gbk"])
def test_simplified_chinese(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize("text", TRADITIONAL)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "big5", "gb18030"])
def test_traditional_chinese(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize("text", JAPANESE)
@pytest.mark.parametrize("encoding", ["utf-8", "shift_jis", "euc_jp"])
def test_japanese(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Le café est fermé à Noël.", "latin-1"),
        ("Die “Größe” – nur 5 €", "cp1252"),
        ("Straße", "cp1252"),
        ("Straßenbahn, Übergröße, naïve Crème brûlée, señor, ação", "cp1252"),
        ("It’s 20 °C; the “10 m³” tank costs £5, doesn’t it?", "cp1252"),
        ("Allir eru jafnir öðrum að virðingu og skulu breyta bróðurlega hverjum við annan.", "cp1252"),
        ("Umowa została zawarta we wrześniu, gdyż wszyscy zgodzili się na jej treść.", "cp1250"),
        ("Umowa została zawarta we wrześniu, gdyż wszyscy zgodzili się na jej treść.", "iso8859_2"),
        ("Smlouva byla uzavřena v září, protože ji všichni důkladně přečetli.", "cp1250"),
        ("Sözleşme alıcı ile satıcı arasında yapılmıştır ve değiştirilemez.", "cp1254"),
        ("Москва является столицей России. Она большая.", "cp1251"),
        ("대한민국은 민주공화국이다.", "cp949"),
        ("Übermäßig große Geräte für alle", "cp850"),
        ("保証期間は二年間です。", "iso2022_jp"),
        ("Гарантия два года со дня покупки.", "utf-16-le"),
    ],
)
def test_other_languages(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ["Hello, world\r\n", "员工请假须提前三天。\r\n提交申请。\r\n"])
def test_wide_encodings_without_byte_order_mark(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text",
    [
        "保修期为两年，自购买之日起计算。请保留发票。",
        "東京都は日本の首都です。",
        "員工請假須提前三天提交申請。",
        "員工請假。" * 20_000,
    ],
)
def test_wide_encodings_without_zero_bytes(text: str, encoding: str) -> None:
    data = text.encode(encoding)
    assert b"\0" not in data
    assert decode(data) == text


def test_late_invalid_bytes_do_not_change_the_encoding() -> None:
    text = "员工请假须提前三天提交申请。\n" * 1000
    for encoding in ("utf-8", "gb18030"):
        decoded = decode(text.encode(encoding) + b"\xff\xff\n" + "结束".encode(encoding))
        assert decoded.startswith(text)
        assert decoded.endswith("结束")


def test_chinese_after_a_long_english_start() -> None:
    text = "plain words\n" * 20_000 + "员工请假须提前三天提交申请。"
    assert decode(text.encode("gb18030")) == text


def test_few_nul_bytes_do_not_mean_utf_16() -> None:
    assert decode("员工\0手册 and more".encode()) == "员工\0手册 and more"


@pytest.mark.parametrize(("encoding", "line"), [("gbk", "第二行是另一个程序写的。"), ("cp1252", "Größe für alle")])
def test_lines_in_two_encodings(encoding: str, line: str) -> None:
    first = "第一行的中文 – für alle\n"
    assert decode(first.encode() + line.encode(encoding) + b"\nend") == f"{first}{line}\nend"
