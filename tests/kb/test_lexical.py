"""The terms that BM25 indexes and searches."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from kb.lexical import analyze, foreign_share, held, question_forms, question_terms, terms, weighted_terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Running runners", "run runner"),
        ("don’t, user's", "dont user"),
        ("Café NAÏVE", "cafe naiv"),
        ("ＨＮＳＷ ｉｎｄｅｘ", "hnsw index"),
        ("向量数据", "向 量 数 据 向量 量数 数据"),
        ("中", "中"),
        ("資料庫", "资 料 库 资料 料库"),
        ("頭髮乾燥", "头 发 干 燥 头发 发干 干燥"),
        ("タワー", "タ ワ ー タワ ワー"),
        ("한국", "한 국 한국"),
        ("𠮷野家", "𠮷 野 家 𠮷野 野家"),
        ("2015年", "2015 年"),
        ("用Milvus存", "用 milvus 存"),
        ("6½", "6 1_2 1 2"),
        ("3.14", "3_14"),
        ("1,234,567.8", "1234567_8"),
        ("1,2,3", "1 2 3"),
        ("v2.6.10", "2_6_10 2_6"),
        ("python3.11", "python3_11 python 3_11"),
        ("GPT4", "gpt4 gpt 4"),
        ("GPT-4", "gpt4 gpt 4"),
        ("foo_bar", "foobar foo_bar foo bar"),
        ("__init__", "init"),
        ("HTTPServer", "httpserver http server"),
        ("readFile", "readfil read file"),
        ("PDFs", "pdf"),
        ("C++ and C#", "cplusplus and csharp"),
        ("a+b", "a b"),
        ("Привет мир", "привет мир"),
        ("____ ' ’ …!", ""),
        ("", ""),
    ],
)
def test_terms(text: str, expected: str) -> None:
    assert terms(text) == expected


def test_several_texts_are_joined() -> None:
    assert terms("title", "", "標題") == "titl 标 题 标题"


def test_traditional_and_simplified_chinese_give_the_same_terms() -> None:
    assert analyze("後端開發與資料庫檢索") == analyze("后端开发与资料库检索")


def test_each_term_is_one_lower_case_word_token() -> None:
    assigned = (chr(code) for code in range(32, 0x20000) if not 0xD800 <= code < 0xE000)
    text = " ".join(f"{char}x {char}" for char in assigned) + " a" * 3 + "\ud800 İstanbul ﬁ ß ǅ e\u0301e"
    wrong = [term for term in analyze(text) if not re.fullmatch(r"\w+", term) or re.findall(r"\w+", term) != [term]]
    assert wrong == []


def test_long_data_is_cut() -> None:
    assert max(map(len, analyze("A1b2" * 1000 + " " + "1." * 500 + "1"))) <= 64


def test_threads_get_the_same_terms() -> None:
    texts = [
        f"generalizations{number} 後端開發 national connections running word{'ing' * (number % 5)}"
        for number in range(400)
    ]
    expected = [analyze(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(analyze, texts)) == expected


def test_question_terms_skip_meaningless_words() -> None:
    assert question_terms("What is the index of a vector database, the index?") == ("index", "vector", "databas")
    assert question_terms("請問什麼是向量庫？") == ("向量", "量库")
    assert question_terms("茶？") == ("茶",)
    assert question_terms("如何配置索引的参数") == ("配置", "置索", "索引", "参数")


def test_meaningful_terms_of_a_question_count_three_times() -> None:
    assert weighted_terms("What is the index? The index!") == "what is the index index index"
    assert weighted_terms("如何配置") == "如 何 配 置 如何 何配 配置 配置 配置"
    assert weighted_terms("👍？") == ""


@pytest.mark.parametrize(
    "alike",
    [
        ["Straße", "Strasse", "STRASSE"],
        ["Łódź", "Lodz", "łódź"],
        ["Æsir", "aesir"],
        ["Đà Nẵng", "Da Nang"],
        ["Diyarbakır", "diyarbakir"],
        ["œuvre", "oeuvre"],
        ["ещё", "еще"],
        ["Αθήνα", "ΑΘΗΝΑ"],
        ["so\u00adft", "soft"],
        ["保\u200b修期", "保修期"],
        ["كِتَاب", "كتاب"],
        ["ＷｉＦｉ－６", "WiFi-6"],
        ["A‑1023⁄7", "A-1023/7"],
        ["don’t", "don't"],
        ["x\u0302", "x"],
        ["①②", "① ②"],
        ["3,870²", "3,870 2"],
    ],
)
def test_same_letters_give_the_same_terms(alike: list[str]) -> None:
    assert len({terms(text) for text in alike}) == 1


@pytest.mark.parametrize(
    ("spelt", "spelt_out", "plain"),
    [
        ("Müller", "Mueller", "Muller"),
        ("Zürich", "Zuerich", "Zurich"),
        ("KÖLN", "Koeln", "koln"),
        ("Ørsted", "Oersted", "Orsted"),
        ("Århus", "Aarhus", "Arhus"),
        ("Jäger", "Jaeger", "Jager"),
    ],
)
def test_umlauts_are_found_in_either_spelling(spelt: str, spelt_out: str, plain: str) -> None:
    for asked, text in ((spelt, spelt_out), (spelt_out, spelt), (plain, spelt), (spelt, plain), (spelt, spelt)):
        assert all(held(question_forms(asked), terms(text)))
        assert set(analyze(asked)) & set(analyze(text))
    assert not any(held(question_forms(spelt_out), terms(plain)))


@pytest.mark.parametrize(
    ("text", "term"),
    [
        *(("a true blue shoe", term) for term in ("tru", "blu", "sho")),
        ("10m of cable", "10000000"),
        ("5 M", "5000000"),
        ("10km 16GB 10kg", "10000"),
        ("a 4K film", "4000"),
        ("Y2K, 2k", "2000"),
        ("part 10k-A", "10000"),
        ("第3季", "q3"),
        ("第九季度", "q9"),
        ("a quarter of the third", "q3"),
        ("五卅", "530"),
    ],
)
def test_what_only_looks_like_another_notation_is_none(text: str, term: str) -> None:
    assert term not in analyze(text)


DAYS = [
    "2024-03-15",
    "2024/3/15",
    "2024.3.15",
    "2024. 3. 15.",
    "2024年3月15日",
    "2024 年 03 月 15 日",
    "２０２４年３月１５号",
    "二〇二四年三月十五日",
    "二零二四年三月十五号",
    "2024년 3월 15일",
    "15 March 2024",
    "15th of March 2024",
    "15 Mar. 2024",
    "15-Mar-2024",
    "March 15, 2024",
    "march 15th 2024",
    "Mar 15,2024",
    "2024 March 15",
    "15.03.2024",
    "15/03/2024",
    "03/15/2024",
    "20240315",
]
MONTHS = ["2024-03", "2024年3月", "二〇二四年三月", "March 2024", "Mar. 2024", "march, 2024", "2024 March"]
NUMBERS = {
    "1000000": ["1 000 000", "1,000,000", "1.000.000", "1'000'000", "100万", "100 万", "一百万", "1 million", "1百万"],
    "250000000": ["2.5亿", "两亿五千万", "250 million", "0.25 billion", "250,000,000"],
    "35000": ["35,000", "3.5万", "三万五千", "三万五", "35 thousand", "35 000"],
    "13800138000": ["138 0013 8000", "138-0013-8000", "+86 138 0013 8000", "+86-138-0013-8000"],
    "01066554433": ["(010) 6655 4433", "（010）66554433", "(010)6655-4433", "010-66554433"],
    "12500": ["12,500.00", "12.500,00", "12,500", "12500"],
    "1234567_5": ["1,234,567.5", "1.234.567,5"],
    "9787111123456": ["978-7-111-12345-6", "978 7 111 12345 6"],
    "50percent": ["50%", "50 %", "５０％", "百分之五十", "百分之50", "50 percent", "50 per cent"],
    "第3条": ["第3条", "第 3 条", "第三条"],
    "第105条": ["第105条", "第一百零五条", "第一〇五条"],
    "12个": ["12个月", "12 个月", "十二个月"],
    "30天": ["30天", "30 天", "三十天", "叁拾天"],
    "2年": ["2年", "两年", "二年"],
    "25": ["25", "二十五", "廿五"],
    "25日": ["25日", "二十五日", "廿五日"],
    "20天": ["20天", "廿天", "二十天"],
    "10000": ["10k", "10K", "10,000", "1万"],
    "4200000": ["$4.2M", "4.2M", "£4.2m", "4.2mn", "4.2 million", "420万", "4,200,000"],
    "3000000000": ["$3B", "3bn", "30亿", "3 billion"],
    "7500": ["7500元", "¥7,500", "七千五百元", "7,500.00元", "7.5k", "￥7500", "0.75万元"],
    "300": ["300美元", "$300", "三百美元"],
    "q3": ["Q3", "第三季度", "三季度", "第3季度", "third quarter", "3rd quarter", "Third-quarter"],
    "q1": ["Q1", "一季度", "第一季度", "first quarter"],
    "q4": ["2024Q4", "2024-Q4", "Q4/2024", "Q4 2024", "2024年第四季度", "2024年四季度", "fourth quarter 2024"],
    "120": ["120", "一百二"],
    "3_5": ["3.5", "3,5"],
    "1_2": ["½", "1/2"],
    "3_5percent": ["3.5%", "百分之三点五"],
}
CODES = {
    "a1023_7": ["A-1023/7", "a-1023/7", "A1023/7", "A–1023/7"],
    "gbt19001_2016": ["GB/T 19001-2016", "GB/T19001-2016", "GB/T-19001-2016", "GB/T 19001—2016"],
    "errconn42": ["ERR_CONN-42", "ERR-CONN-42", "ERR_CONN_42"],
    "2_6_10rc1": ["v2.6.10-rc1", "2.6.10-rc1"],
    "10_0_0_1": ["10.0.0.1"],
    "550e8400e29b41d4a716_446655440000": ["550e8400-e29b-41d4-a716-446655440000"],
    "sp1050": ["SP-1050", "SP1050", "SP 1050", "SP_1050"],
    "iso9001_2015": ["ISO 9001:2015", "ISO-9001:2015"],
    "po4471": ["PO#4471", "PO-4471", "PO 4471"],
    "00_1a2b3c4d5e": ["00:1A:2B:3C:4D:5E", "00-1A-2B-3C-4D-5E"],
    "johnsmithexamplecom": ["john.smith@example.com"],
    "wifi": ["Wi-Fi", "wifi", "WiFi", "WI-FI"],
    "email": ["e-mail", "email", "E-mails"],
    "setup": ["set-up", "setup"],
    "nodej": ["Node.js", "nodejs"],
    "usa": ["U.S.A.", "USA"],
    "att": ["AT&T", "ATT"],
    "foobar": ["foo_bar", "foo-bar", "foobar"],
}


@pytest.mark.parametrize(
    ("whole", "text"),
    [
        *(("20240315", day) for day in DAYS),
        *(("202403", month) for month in [*MONTHS, *DAYS[:-1]]),
        *((whole, text) for notations in (NUMBERS, CODES) for whole, alike in notations.items() for text in alike),
    ],
)
def test_every_notation_gives_the_whole(whole: str, text: str) -> None:
    for around in ("{}", "在{}之前", "(see {}; today)", "from {}, not"):
        assert whole in analyze(around.format(text)), around


@pytest.mark.parametrize(
    "alike",
    [
        DAYS,
        MONTHS,
        ["3月15日", "三月十五号", "March 15", "15 March", "15th of march"],
        *NUMBERS.values(),
        *CODES.values(),
    ],
)
def test_question_in_any_notation_is_covered_by_text_in_any_other(alike: list[str]) -> None:
    uncovered = [
        (asked, text) for asked in alike for text in alike if not all(held(question_forms(asked), terms(f"x {text} y")))
    ]
    assert uncovered == []


@pytest.mark.parametrize(
    ("asked", "other"),
    [
        ("2024-01-02", "2024-02-01"),
        ("2024-01-02", "2024-01-03 and 2023-01-02"),
        ("2024年1月2日", "2024年2月1日"),
        ("3 March 2024", "4 March 2024, 3 April 2024"),
        ("A-1023/7", "A-1023/9"),
        ("A-1023/7", "A-1028/7 B-1023/7"),
        ("A-1/23", "A-12/3"),
        ("10.0.0.1", "10.0.0.11 0.0.1"),
        ("SP-1050", "SP-1051 1050"),
        ("v2.6.10", "v2.6.1 2.6"),
        ("第三条", "第三章 三条"),
        ("138 0013 8000", "138 0013 8001"),
    ],
)
def test_question_for_a_code_is_not_covered_by_its_parts(asked: str, other: str) -> None:
    assert not any(held(question_forms(asked), terms(f"What about {other}?")))


def test_code_is_one_of_the_questions_terms() -> None:
    assert question_terms("What happened with A-1023/7 on 2024-01-02?") == ("happen", "a1023_7", "20240102")
    assert question_terms("第3条规定了什么？") == ("第3条", "规定")
    assert question_terms("How does Wi-Fi set-up work?") == ("wifi", "setup", "work")
    assert question_terms("low-temperature storage") == ("low", "temperatur", "storag")


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("What is A-1023/7?", "the code a 1023 7 is blue"),
        ("ERR_CONN-42", "err_conn err conn 42"),
        ("2024-03-15", "on 2024 03 15"),
        ("2024年3月15日", "2024 年 3 月 15 日 at"),
        ("第3条", "第 3 条"),
        ("第三条", "见 第 三 条 见第 第三 三条"),
        ("十二个月", "满 十 二 个 月 满十 十二 二个 个月"),
        ("30天", "30 天"),
        ("set-up", "the set up of"),
        ("GPT4", "gpt4 gpt 4"),
        ("138 0013 8000", "138 0013 8000"),
        ("Müller", "muller"),
        ("第三季度", "q3 3 2024"),
        ("第三季度", "第 三 季 度 第三 三季 季度 3 第3季"),
        ("三季度", "三 季 度 三季 季度 3 3季"),
        ("Q3/2024", "q3_2024 q3 3 2024"),
        ("2024-Q3", "2024q3 2024 q3 3"),
        ("2024Q3", "2024q3 2024 3"),
        ("third quarter", "in the third quarter of"),
        ("10k", "10k 10"),
        ("401k", "401k 401"),
        ("$4.2M", "4_2m 4_2"),
        ("12500元", "12500 元 12500元"),
        ("廿五日", "25 日 25日"),
    ],
)
def test_documents_with_the_terms_of_earlier_versions_are_covered(asked: str, stored: str) -> None:
    assert all(held(question_forms(asked), stored))


@pytest.mark.parametrize(
    "text",
    [
        "一定",
        "三明治",
        "万一",
        "统一",
        "一些",
        "一起",
        "星期三",
        "周一",
        "十分",
        "千万",
        "三三两两",
        "一个人",
        "唯一",
        "五四运动",
        "五卅运动",
    ],
)
def test_words_with_numerals_are_not_numbers(text: str) -> None:
    assert terms(text) == " ".join([*text, *map(str.__add__, text, text[1:])])


def test_dates_stand_in_longer_names() -> None:
    for text in ("2024-03-15T10:30:00", "report-2024-03-15.pdf", "Date:2024-03-15", "15/Mar/2024:10:00:00"):
        assert "20240315" in analyze(text), text
    assert "20240315" not in analyze("2024-03-15-001 1.2024-03-15")


def test_sentences_and_alternatives_are_not_codes() -> None:
    assert terms("It ends.Then he/she starts") == "it end then he she start"


@pytest.mark.parametrize(
    "text",
    [
        "1" * 200_000,
        "1 " * 100_000,
        "1-" * 100_000,
        "a-" * 100_000,
        "A1/" * 60_000,
        "1." * 100_000,
        "1,234" * 40_000,
        "十" * 200_000,
        "亿" * 200_000,
        "三天" * 60_000,
        "e" + "\u0301" * 200_000,
        "May " * 50_000,
        "2024-01-" * 25_000,
        "ISO 9" + "9:9" * 60_000,
        "x\u00ad" * 100_000,
        "2024Q" * 40_000,
        "1,234.5k" * 25_000,
        "third quarter " * 15_000,
        "廿" * 200_000,
        "ü" * 200_000,
    ],
    ids=lambda text: ascii(text[:8]),
)
def test_hostile_text_takes_few_terms(text: str) -> None:
    found = analyze(text)
    assert len(found) <= 4 * len(text)
    assert max(map(len, found), default=0) <= 64


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("What is HNSW?", 0.0),
        ("什么是向量", 1.0),
        ("Milvus 的索引", 1 / 3),
        ("что это", 1.0),
        ("123 ?!", 0.0),
        ("ｆｕｌｌ", 0.0),
    ],
)
def test_foreign_share(text: str, share: float) -> None:
    assert foreign_share(text, frozenset({"latin"})) == pytest.approx(share)


def test_foreign_share_knows_each_script() -> None:
    assert foreign_share("索引と한국 Ж", frozenset({"han", "kana", "hangul", "cyrillic"})) == 0
    assert foreign_share("什么", None) == 0
