"""The built-in models, as users download them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor

from kb.config import Settings, load_settings
from kb.embedding.builtin import BuiltinModel
from kb.embedding.e5 import E5
from kb.embedding.minilm import MINILM
from kb.errors import ModelFilesDamaged
from kb.lexical import foreign_share

pytestmark = pytest.mark.timeout(900)  # the first test downloads the models


@pytest.fixture(params=["e5", "minilm"])
def builtin(request: pytest.FixtureRequest) -> BuiltinModel:
    model: BuiltinModel = request.getfixturevalue(request.param)
    return model


UNKNOWN = 3  # the tokenizer's piece for what it does not know
PASSAGE = "The committee met on Tuesday to discuss the budget for the new railway line. " * 12  # about 190 tokens


def test_vectors_have_length_one_and_keep_the_order(builtin: BuiltinModel) -> None:
    texts = ["short", PASSAGE, "a question of middling length about nothing", "", "short"]
    vectors = builtin.embed_documents(texts)
    assert vectors.shape == (5, builtin.dimension)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    for text, vector in zip(texts, vectors, strict=True):
        assert np.array_equal(builtin.embed_documents([text])[0], vector)  # independent of its neighbours


def test_no_texts_give_no_vectors(builtin: BuiltinModel) -> None:
    assert builtin.embed_documents([]).shape == (0, 384)


def test_vector_is_that_of_the_published_model(minilm: BuiltinModel) -> None:
    """The first four numbers from the authors' own software; int8 changes them slightly."""
    published = [0.0677, 0.0635, 0.0487, 0.0793]
    assert minilm.embed_question("This is an example sentence")[:4] == pytest.approx(published, abs=0.015)


def test_paraphrases_are_closer_than_unrelated_texts(builtin: BuiltinModel) -> None:
    cat, same, other = builtin.embed_documents(
        ["A cat sleeps on the sofa.", "A kitten is napping on the couch.", "Interest rates rose by half a percent."]
    )
    assert cat @ same > cat @ other + 0.1


@pytest.mark.parametrize(
    ("question", "answer", "other"),
    [
        ("How long is green tea steeped?", "绿茶用八十度的水泡两分钟。", "利率上升了半个百分点。"),
        ("绿茶要泡多久？", "Green tea is steeped at eighty degrees for two minutes.", "Interest rates rose."),
    ],
)
def test_question_of_the_other_language_finds_its_answer(
    e5: BuiltinModel, question: str, answer: str, other: str
) -> None:
    right, wrong = e5.embed_documents([answer, other]) @ e5.embed_question(question)
    assert right > wrong + 0.03


def test_traditional_and_simplified_text_have_one_vector(e5: BuiltinModel) -> None:
    simplified, traditional = e5.embed_documents(["软体动物的数据库", "軟體動物的數據庫"])
    assert np.array_equal(simplified, traditional)


WORDS = {
    "arabic": "مدرسة",
    "armenian": "դպրոց",
    "bengali": "বিদ্যালয়",
    "cyrillic": "школа",
    "devanagari": "विद्यालय",
    "ethiopic": "ትምህርት",
    "georgian": "სკოლა",
    "greek": "σχολείο",
    "gujarati": "શાળા",
    "gurmukhi": "ਸਕੂਲ",
    "han": "学校",
    "hangul": "학교",
    "hebrew": "בית",
    "kana": "サーバー",
    "kannada": "ಶಾಲೆ",
    "khmer": "សាលា",
    "lao": "ໂຮງຮຽນ",
    "latin": "Straße",
    "malayalam": "വിദ്യാലയം",
    "myanmar": "ကျောင်း",
    "oriya": "ବିଦ୍ୟାଳୟ",
    "sinhala": "පාසල",
    "tamil": "பள்ளி",
    "telugu": "పాఠశాల",
    "thai": "โรงเรียน",
}


def test_tokenizer_knows_every_script_of_its_model(model_settings: Settings) -> None:
    tokenize = E5.open_tokenizer(E5.files(model_settings).folder)
    assert frozenset(WORDS) == E5.scripts
    for script, word in WORDS.items():
        assert foreign_share(word, frozenset({script})) == 0
        assert UNKNOWN not in tokenize(word), word
    for word in ("བོད་ཡིག", "ᏣᎳᎩ"):
        assert foreign_share(word, E5.scripts) == 1
        assert UNKNOWN in tokenize(word), word


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("query: Wi\u200dFi ＡＢＣ", "query: Wi Fi ABC"),
        ("  two  spaces\n", "two spaces"),
        ("<s> is text", "<s> is text"),
    ],
)
def test_text_is_normalised_before_it_is_split(model_settings: Settings, text: str, read: str) -> None:
    folder = E5.files(model_settings).folder
    vocabulary = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    first, *ids, last = E5.open_tokenizer(folder)(text)
    assert (first, last) == (0, 2)
    assert vocabulary.decode(ids) == read


def test_e5_reads_512_tokens(e5: BuiltinModel) -> None:
    start = PASSAGE * 2  # about 400 tokens
    sea, law = e5.embed_documents([start + "Whales dive deep for squid.", start + "The court upheld the verdict."])
    assert sea @ law < 0.9999
    sea, law = e5.embed_documents([start * 2 + "Whales dive deep.", start * 2 + "The court upheld it."])
    assert np.array_equal(sea, law)


def _change(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"another weight")


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("weights.bin", _change),
        ("weights.bin", Path.unlink),
        ("tokenizer.model", Path.unlink),
        ("sha256.json", lambda path: path.write_bytes(b"")),
    ],
)
def test_changed_file_names_the_folder_to_delete(
    tmp_path_factory: pytest.TempPathFactory, model_settings: Settings, name: str, harm: Callable[[Path], object]
) -> None:
    settings = load_settings(_env_file=None, zhiwen_home=tmp_path_factory.mktemp("home"))
    folder = E5.files(settings).folder
    shutil.copytree(E5.files(model_settings).folder, folder)
    harm(folder / name)
    with pytest.raises(ModelFilesDamaged, match=re.escape(name)) as raised:
        BuiltinModel(E5, settings, threads=1).embed_question("?")
    assert f"Delete the folder {folder}" in str(raised.value)


def test_second_half_of_a_long_text_counts(minilm: BuiltinModel) -> None:
    """The tokenizer file would truncate at 128 tokens."""
    sea, law = minilm.embed_documents(
        [PASSAGE[:900] + "Whales dive deep for squid.", PASSAGE[:900] + "The court upheld the verdict."]
    )
    assert sea @ law < 0.995


def test_lone_surrogates_are_accepted(builtin: BuiltinModel) -> None:
    assert builtin.embed_question("a\ud800b 國").shape == (384,)


def test_threads_share_the_model(model_settings: Settings) -> None:
    model = BuiltinModel(MINILM, model_settings, threads=1)
    with ThreadPoolExecutor(4) as pool:
        vectors = list(pool.map(model.embed_question, ["one and the same"] * 8))
    assert np.allclose(vectors, vectors[0], atol=1e-6)


def test_damaged_model_names_the_folder_to_delete(
    tmp_path_factory: pytest.TempPathFactory, model_settings: Settings
) -> None:
    settings = load_settings(_env_file=None, zhiwen_home=tmp_path_factory.mktemp("home"))
    folder = settings.models / "all-MiniLM-L6-v2-int8"
    folder.mkdir(parents=True)
    whole = model_settings.models / folder.name
    (folder / "tokenizer.json").write_bytes((whole / "tokenizer.json").read_bytes())
    (folder / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelFilesDamaged, match="Delete the folder"):
        BuiltinModel(MINILM, settings, threads=1).embed_question("?")
