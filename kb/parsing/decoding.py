"""Bytes of a text file → text, whatever its encoding.

We recognise UTF by its byte order mark or by being valid, and UTF-16 without a mark by what it says. Next come the East
Asian encodings, by the share of characters that are common in their language (charset-normalizer confuses GBK and Big5
in short texts). The single-byte encodings are left to charset-normalizer. Invalid bytes show as U+FFFD.
"""

from __future__ import annotations

import codecs
import re
import string
from collections import Counter
from collections.abc import Iterable

_SAMPLE_BYTES = 64 * 1024
_BOMS = (  # UTF-32 first, because its little-endian mark begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_FEW_LETTERS, _MIXED = 3, 0.5  # at least so many letters, and so many for each line in another encoding
_SHIFTED = re.compile(rb"\x1b\$(?:[@B]|\(D|\)C)")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_COMMON_HAN = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所"
    "然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长"
    "把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身"
    "果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活"
    "尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治"
    "展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领"
    "共确传师观清今切院让识候带导争运库档检索答服技户章节录版简试测请勿请谢您好吗呢吧"
    "這個們來為國說時會對於著過發後裡種經麼學現當沒動還進樣開從實軍無與長機關點業將兩間問並應戰頭體見產話內給門兒東"
    "聲員論處義幾認條氣題爾別變總電數報結務場計資統區隊決馬書則聽卻達強難權設記類據邊張該規萬覺術領確傳師觀讓識帶導"
    "爭運庫檔檢測試請謝您嗎繁簡臺灣龍"
)
_COMMON_HANGUL = "이다는을를에의가은고한하지로기도그사나어아서자리대인시라만일해수있정보안녕세요습니까입"
_COMMON = frozenset(_COMMON_HAN + _COMMON_HANGUL + "，。、；：？！“”（）《》「」『』【】—…　・ー")
# Each encoding with the lead bytes of its everyday characters.
_EAST_ASIAN = (
    ("gb18030", range(0xB0, 0xD8)),
    ("big5hkscs", range(0xA4, 0xC7)),
    ("cp932", range(0x88, 0x98)),
    ("euc_jp", range(0xB0, 0xD0)),
    ("cp949", range(0xB0, 0xC9)),
)
# The letters of the languages that each encoding is for. If two fit equally well, the first one wins.
_LATIN = {
    "cp1252": "àáâãäåæçèéêëìíîïñòóôõöøùúûüßœÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜŒ’",
    "cp1254": "çğıöşüâîûÇĞİÖŞÜ’",
    "cp1250": "áâäčćçďéëěęíîĺľłňńóôöőŕřśšşťţúůüűýźžżąăđßÁČĎÉĚĘÍŁŇŃÓÔÖŐŘŚŠŞŤŢÚŮÜŰÝŹŽŻĄĂĐ’",
}
_ICELANDIC = "áéíóúýöæðþøåÁÉÍÓÚÝÖÆÐÞØÅ"  # also Western European; in the other encodings its bytes are other letters
_NOT_TURKISH = frozenset("áéíóúæ")
_LATIN["cp850"] = "àâäåæçèéêëîïñôöøùûüßÀÂÄÅÆÇÈÉÊËÎÏÑÔÖØÙÛÜáíóúÁÍÓÚ"  # of DOS
_LATIN["iso8859_2"] = _LATIN["cp1250"]
_BETTER = 0.1  # how much better than Western European another encoding must fit
_INSIDE_WORD = re.compile(rb"(?<=[A-Za-z])[\x80-\xff](?=[A-Za-z])")
_ENOUGH = 0.4  # minimum plausibility; Cyrillic read as GB18030 reaches 0.25
_SURELY = 0.6  # random pairs of bytes that are Chinese characters reach 0.35
_NOT_LATIN = ["cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp874"]


def decode(data: bytes) -> str:
    """The text of `data`; never raises for invalid bytes."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return data[len(bom) :].decode(encoding, "replace")
    wide = detect_wide(data[:_SAMPLE_BYTES])
    if wide:
        return data.decode(wide, "replace")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return _decode_mixed(data) or data.decode(_detect_narrow(_sample(data)), "replace")
    return _decode_shifted(data) if _SHIFTED.search(data) else text


def _decode_shifted(data: bytes) -> str:
    """ISO-2022, whose letters are ASCII between escape sequences."""
    for encoding in ("iso2022_jp_ext", "iso2022_jp_3", "iso2022_kr"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("iso2022_jp_ext", "replace")


def _decode_mixed(data: bytes) -> str:
    """The text of a file with lines in UTF-8 and others in another encoding; empty if it is in one."""
    lines = data.split(b"\n")
    others = [index for index, line in enumerate(lines) if not line.isascii() and not _is_whole_utf8(line)]
    known = b"".join(line for line in lines if not line.isascii() and _is_whole_utf8(line)).decode("utf-8")
    letters = [char for char in known if char > "\x7f"]
    # By chance, a line of two or three letters in another encoding is valid UTF-8, too.
    if len(letters) < max(_FEW_LETTERS, _MIXED * len(others)) or not _is_readable(letters):
        return ""
    rest = b"\n".join(lines[index] for index in others)
    encoding = _detect_narrow(_sample(rest))
    if encoding == "utf-8":  # with some damage
        return ""
    foreign = set(others)
    return "\n".join(
        line.decode(encoding if index in foreign else "utf-8", "replace") for index, line in enumerate(lines)
    )


def _is_readable(letters: list[str]) -> bool:
    """Whether letters are of scripts in use, as those of another encoding that pass for UTF-8 are not."""
    return sum(map(str.isalpha, letters)) + sum(map(_COMMON.__contains__, letters)) > len(letters) / 2


def _is_whole_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _sample(data: bytes) -> bytes:
    """The stretch around the first non-ASCII byte, because pure ASCII says nothing about the encoding."""
    first = _NOT_ASCII.search(data)
    start = max(0, first.start() - 64) if first else 0
    return data[start : start + _SAMPLE_BYTES]


def detect_wide(sample: bytes) -> str:
    """The name of UTF-16 or UTF-32 without a byte order mark; empty for other encodings."""
    if b"\0" not in sample:
        return _detect_wide_han(sample)
    for encoding in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be"):
        width = 4 if "32" in encoding else 2
        text = sample[: len(sample) // width * width].decode(encoding, "replace")
        if text and _looks_like_text(text):
            return encoding
    return ""


def _detect_wide_han(sample: bytes) -> str:
    """UTF-16 of Chinese or Japanese alone, which has no zero bytes, if it reads far better than any other encoding."""
    if len(sample) % 2 or not _NOT_ASCII.search(sample) or _is_utf8(sample):
        return ""
    texts = {encoding: sample.decode(encoding, "replace") for encoding in ("utf-16-le", "utf-16-be")}
    encoding, text = max(texts.items(), key=lambda pair: _share_of_common(pair[1]))
    share = _share_of_common(text)
    if share < _SURELY or "\ufffd" in text:
        return ""
    narrow = max(_plausibility(sample, each, leads) for each, leads in _EAST_ASIAN)
    return encoding if share > narrow else ""


def _is_utf8(sample: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # a character that is cut at the end is not an error
    except UnicodeDecodeError:
        return False
    return True


def _looks_like_text(text: str) -> bool:
    ascii_printable = sum(1 for c in text if " " <= c <= "~" or c in "\r\n\t")
    if "\0" in text or text.count("\ufffd") > 1:
        return False
    others = [c for c in text if c > "\x7f"]
    if ascii_printable > 0.8 * len(text):
        return True
    return bool(others) and (_share_of_common(others) > _ENOUGH or _is_of_one_alphabet(others))


def _is_of_one_alphabet(characters: list[str]) -> bool:
    """Whether nearly all are letters of one alphabet: Cyrillic, Greek, Hebrew, Arabic, Thai, …"""
    blocks = Counter(ord(char) >> 8 for char in characters if char.isalpha())
    return bool(blocks) and blocks.most_common(1)[0][0] < 0x20 and blocks.most_common(1)[0][1] > 0.85 * len(characters)


def _detect_narrow(sample: bytes) -> str:
    if _is_mostly_utf8(sample):
        return "utf-8"
    best, plausibility = max(
        ((encoding, _plausibility(sample, encoding, leads)) for encoding, leads in _EAST_ASIAN),
        key=lambda pair: pair[1],
    )
    return best if plausibility >= _ENOUGH else _detect_single_byte(sample)


def _is_mostly_utf8(sample: bytes) -> bool:
    """Whether the few invalid bytes are damage rather than another encoding."""
    text = sample.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    good = sum(1 for c in text if c > "\x7f") - bad
    return good >= 5 * bad


def _plausibility(sample: bytes, encoding: str, leads: range) -> float:
    """How well the text reads in the language that `encoding` is for; 1 is perfect."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")  # a character that is cut at the end is not an error
    others = [c for c in decoder.decode(sample) if c > "\x7f"]
    if not others:
        return 0.0
    everyday = sum(1 for c in others if c.encode(encoding, "replace")[0] in leads) / len(others)
    return 0.7 * _share_of_common(others) + 0.3 * everyday - 5 * others.count("\ufffd") / len(others)


def _share_of_common(characters: Iterable[str]) -> float:
    """From -1 (all nonsense) to 1 (all very common)."""
    scores = [_score(character) for character in characters]
    return sum(scores) / len(scores)


def _score(character: str) -> float:
    if character in _COMMON or "\u3041" <= character <= "\u3096":
        return 1.0
    if "\u30a1" <= character <= "\u30fa":
        return 0.8
    if "\uac00" <= character <= "\ud7a3":
        return 0.4
    if "\ue000" <= character <= "\uf8ff" or "\uff61" <= character <= "\uff9f" or character == "\ufffd":
        return -1.0
    return 0.3 if "\u4e00" <= character <= "\u9fff" or "\uff00" <= character <= "\uff60" else 0.0


def _detect_single_byte(sample: bytes) -> str:
    """Latin if most letters are ASCII, where charset-normalizer would mistake French for Polish."""
    if sum(sample.count(letter) for letter in string.ascii_letters.encode()) > len(_NOT_ASCII.findall(sample)):
        return _detect_latin(sample)
    from charset_normalizer import from_bytes

    best = from_bytes(sample, cp_isolation=_NOT_LATIN).best()
    return best.encoding if best else "cp1252"


def _detect_latin(sample: bytes) -> str:
    """Western, Central European or Turkish, by the letters inside words."""
    letters = b"".join(_INSIDE_WORD.findall(sample))
    if not letters:
        return "cp1252"
    shares = {
        encoding: sum(character in known for character in letters.decode(encoding, "replace")) / len(letters)
        for encoding, known in _LATIN.items()
    }
    if not _NOT_TURKISH.isdisjoint(sample.decode("cp1252", "replace")):
        western = letters.decode("cp1252", "replace")
        shares["cp1252"] = max(shares["cp1252"], sum(letter in _ICELANDIC for letter in western) / len(western))
    best = max(shares, key=lambda encoding: shares[encoding])
    return best if shares[best] >= shares["cp1252"] + _BETTER else "cp1252"
