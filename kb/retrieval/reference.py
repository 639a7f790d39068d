"""Questions and passages that every embedding model is measured on, so that its cosines can be compared.

A cosine by itself says little. Unrelated texts have .1 in one model and .8 in another; in one and the same model, .73
between English texts, .81 between Chinese ones and .70 between the two. So each question is also compared with passages
that surely have nothing to do with it (in the recognition of speakers, such a set is called a cohort: Auckenthaler et
al., "Score normalization for text-independent speaker verification systems", 2000), and how far a right passage stands
out from them is measured for each model.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import structlog

from kb import lexical
from kb.embedding import EmbeddingModel, Vectors

log = structlog.get_logger()

ENGLISH = (
    (
        "How long can I return a purchase?",
        "Goods can be sent back within thirty days of delivery. The refund is paid to the card that was used, usually "
        "within a week after the parcel has reached our warehouse.",
    ),
    (
        "Why do leaves change colour in autumn?",
        "When days grow shorter, trees stop making chlorophyll. The green fades, and yellow and orange pigments that "
        "were there all summer become visible in the foliage before it falls.",
    ),
    (
        "Who painted the ceiling of the Sistine Chapel?",
        "Between 1508 and 1512 Michelangelo covered the chapel's vault with frescoes. Pope Julius II had given him the "
        "commission, although he thought of himself as a sculptor.",
    ),
    (
        "Which valve must be closed before the pump is serviced?",
        "Before maintenance, switch off the motor, shut the inlet valve V2 and drain the housing. Only trained staff "
        "may open the cover. Afterwards check the seal for leaks.",
    ),
    (
        "What are the symptoms of dehydration?",
        "Someone who drinks too little becomes thirsty and tired, has a dry mouth and headaches, and passes little, "
        "dark urine. Children and old people are most at risk.",
    ),
    (
        "How is compound interest calculated?",
        "The interest of each year is added to the capital, so that it earns interest itself from then on. After n "
        "years a deposit has grown by the factor (1 + r) to the power of n.",
    ),
    (
        "When did the city get its first railway line?",
        "The station was opened in 1847. For twenty years trains ran only to the harbour; the main line across the "
        "mountains followed after the long tunnel had been finished.",
    ),
    (
        "How do I reset my password?",
        "Choose “Forgot password” on the sign-in page and enter your e-mail address. We send you a link that is valid "
        "for one hour, with which you set a new password for your account.",
    ),
    (
        "How many players does a volleyball team have?",
        "Six players of each side are on the court. They may touch the ball three times before it must cross the net, "
        "and they rotate each time they win back the serve.",
    ),
    (
        "What temperature does bread need in the oven?",
        "Preheat to 230 degrees, put the loaf on the hot stone and add steam. After ten minutes lower the heat to 200 "
        "and bake until the crust is brown and sounds hollow.",
    ),
    (
        "Which animals live in the deep sea?",
        "Below a thousand metres there is no light. Anglerfish lure their prey with a glowing organ, and giant squid, "
        "sea cucumbers and blind shrimp live near hot vents.",
    ),
    (
        "Who decides about changes of the statutes?",
        "The general assembly of members can amend the statutes with a majority of two thirds of the votes. The board "
        "must send out the wording of the motion four weeks ahead.",
    ),
)
CHINESE = (
    (
        "年假可以顺延到下一年吗？",
        "员工当年未休完的年假，经部门主管批准，可以保留到次年三月底，逾期作废。离职时未休的天数按日工资折算。",
    ),
    (
        "打印机卡纸了怎么处理？",
        "先关闭电源，打开后盖，沿出纸方向慢慢拉出纸张，不要用力撕扯。合上后盖重新开机，若仍有提示，请清洁搓纸轮。",
    ),
    (
        "《红楼梦》的作者是谁？",
        "曹雪芹出身于没落的官宦之家，晚年住在北京西郊，贫病交加，用十年时间写成这部长篇小说的前八十回。",
    ),
    (
        "高血压病人饮食要注意什么？",
        "每天食盐不超过五克，少吃腌制食品，多吃蔬菜水果，控制体重，戒烟限酒，并坚持按时服药、定期测量血压。",
    ),
    (
        "这条高速铁路全长多少公里？",
        "线路自省会向南，经过四座城市到达海边，正线长三百六十二公里，设计时速三百五十公里，共设九座车站。",
    ),
    (
        "公司注册需要哪些材料？",
        "申请人应当提交公司章程、股东身份证明、住所使用证明和名称预先核准通知书，登记机关在五个工作日内作出决定。",
    ),
    (
        "水稻什么时候插秧最好？",
        "早稻一般在清明前后播种，四月下旬至五月初移栽到田里，此时气温稳定在十五度以上，秧苗返青快、分蘖多。",
    ),
    (
        "火山为什么会喷发？",
        "地下深处的岩浆含有大量气体，压力不断升高，当上面的岩层承受不住时，岩浆便沿着裂缝冲出地面，形成熔岩和火山灰。",
    ),
    (
        "退款多久能到账？",
        "商家收到退回的商品并确认无误后，款项会在三个工作日内原路返回，信用卡支付的可能需要七到十天才能看到。",
    ),
    (
        "围棋的棋盘有多少个交叉点？",
        "棋盘由纵横各十九条线组成，共有三百六十一个交叉点，黑方先行，双方轮流落子，最后以围得地盘多的一方为胜。",
    ),
    (
        "设备的保修期从哪天算起？",
        "整机保修一年，自发票开具之日起计算；人为损坏、进水或私自拆机不在保修范围之内，维修时需出示购买凭证。",
    ),
    (
        "她在奥运会上得过几块金牌？",
        "这位运动员十七岁入选国家队，先后参加三届比赛，在跳台和双人项目中四次登上最高领奖台，退役后担任教练。",
    ),
)


_SETS = {"latin": ENGLISH, "han": CHINESE}
_PASSAGES, _QUESTIONS, _TEXTS = "passages_", "questions_", "texts"
_TEXTS_SUM = hashlib.sha256(repr(_SETS).encode()).digest()
_SAME = 1e-3  # between the values of vectors that differ by rounding at most
_HAN_SHARE = 0.2
_LETTER_SHARE = 0.5
_LEAST_SPREAD = 0.01  # of a model that tells nothing apart
_LEAST_DEVIATIONS = 3  # what stands out less is chance; e5 has 4.6 deviations, MiniLM 8.4
_REQUESTS = 6
_LOOKED_AT = 200  # characters of a text that tell its script


@dataclass(frozen=True, slots=True)
class Reference:
    """What a model makes of the reference texts.

    `english` and `chinese` are the vectors of the passages, (12, dimension) each. `spread` is how far the cosine of the
    right passage is above the mean of all, on average over the questions, but at least what stands out from chance;
    `deviation` is how far those of the others lie apart.
    """

    english: Vectors
    chinese: Vectors
    spread: float
    deviation: float

    def unrelated(self, question: Vectors) -> Unrelated:
        """The cosines of `question` (dimension,) to passages that it has nothing to do with."""
        english, chinese = (float((passages @ question).mean()) for passages in (self.english, self.chinese))
        return Unrelated(english, chinese)


@dataclass(frozen=True, slots=True)
class Unrelated:
    """The mean cosine of a question to passages that it has nothing to do with, in either script."""

    english: float
    chinese: float

    def of(self, text: str) -> float:
        """The one for the script of `text`."""
        beginning = text[:_LOOKED_AT]
        if _is_figures(beginning):
            return max(self.english, self.chinese)  # figures belong to no script, and are as close to one as the other
        return self.chinese if lexical.script_share(beginning, "han") >= _HAN_SHARE else self.english


def _is_figures(text: str) -> bool:
    """Whether there are more digits and signs than letters, as in rows of measurements."""
    written = [char for char in text if not char.isspace()]
    return sum(map(str.isalpha, written)) < _LETTER_SHARE * len(written)


def embed(model: EmbeddingModel) -> dict[str, Vectors]:
    """The vectors of all passages and questions, by script. Errors: the model's."""
    vectors = {_PASSAGES + script: model.embed_documents([text for _, text in _SETS[script]]) for script in _SETS}
    with ThreadPoolExecutor(_REQUESTS) as pool:  # a remote model takes its time for each
        asked = {script: pool.map(model.embed_question, [text for text, _ in _SETS[script]]) for script in _SETS}
    return vectors | {_QUESTIONS + script: np.stack(list(found)) for script, found in asked.items()}


def measure(vectors: Mapping[str, Vectors], scripts: frozenset[str] | None) -> Reference:
    """Compare what `embed` gives, in the `scripts` that the model knows."""
    known = [script for script in _SETS if scripts is None or script in scripts] or list(_SETS)
    lifts = [_lifts(vectors[_QUESTIONS + script] @ vectors[_PASSAGES + script].T) for script in known]
    spread = float(np.mean([np.diagonal(each).mean() for each in lifts]))
    deviation = float(np.mean([each[~np.eye(len(each), dtype=bool)].std() for each in lifts]))
    spread = max(spread, _LEAST_DEVIATIONS * deviation, _LEAST_SPREAD)
    return Reference(vectors[_PASSAGES + "latin"], vectors[_PASSAGES + "han"], spread, deviation)


def _lifts(cosines: Vectors) -> Vectors:
    """How far each cosine (question, passage) is above its question's mean."""
    return np.asarray(cosines - cosines.mean(axis=1, keepdims=True), np.float32)


class References:
    """Measures each model once, and keeps the vectors in `folder` for the next start. Safe to share among threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: defaultdict[str, Lock] = defaultdict(Lock)  # a slow model holds up only its own questions
        self._measured: dict[str, Reference] = {}

    def of(self, model: EmbeddingModel) -> Reference:
        """The model's reference, measured at its first use. Errors: the model's."""
        with self._locks[model.name]:
            if model.name not in self._measured:
                vectors = embed(model) if model.is_remote else self._kept(model)
                self._measured[model.name] = measure(vectors, model.scripts)
            return self._measured[model.name]

    def _kept(self, model: EmbeddingModel) -> dict[str, Vectors]:
        """The vectors of an earlier start if the model still gives the same ones, else new ones."""
        path = self._folder / f"reference-{hashlib.sha256(model.name.encode()).hexdigest()[:16]}.npz"
        kept = _read(path)
        if kept and _gives(model, kept):
            return kept
        vectors = embed(model)
        aside = path.with_suffix(f".{os.getpid()}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as file:
                np.savez(file, **vectors, **{_TEXTS: np.frombuffer(_TEXTS_SUM, np.uint8)})  # type: ignore[arg-type]
            aside.replace(path)
        except OSError as error:
            log.warning("reference.not_kept", model=model.name, reason=str(error))
        return vectors


def _read(path: Path) -> dict[str, Vectors] | None:
    """The vectors in a file, or None if it does not hold those of today's texts."""
    try:
        with path.open("rb") as file, np.load(file) as stored:
            vectors = dict(stored)
        return vectors if vectors.pop(_TEXTS).tobytes() == _TEXTS_SUM else None
    except Exception:  # noqa: BLE001 — whatever is wrong with the file, it is written anew
        return None


def _gives(model: EmbeddingModel, vectors: Mapping[str, Vectors]) -> bool:
    """Whether the model gives these vectors: other weights, another prefix or tokenizer would not."""
    (question, passage), *_ = ENGLISH
    given = np.stack([model.embed_question(question), model.embed_documents([passage])[0]])
    kept = np.stack([vectors[_QUESTIONS + "latin"][0], vectors[_PASSAGES + "latin"][0]])
    return given.shape == kept.shape and np.allclose(given, kept, atol=_SAME)
