"""Text in the image of a page: RapidOCR finds the lines and reads them, with the PP-OCRv6 models in its wheel.

The page is turned upright first. Lines are read side by side, each in one thread: several threads of onnxruntime that
share a line wait for each other in loops, which on a busy machine takes many times as long.
"""

from __future__ import annotations

import ctypes
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kb.environment import available_cpus, import_rapidocr
from kb.parsing.layout.lines import Line, TextRun, read_lines
from kb.parsing.layout.places import box_around, corners, quarter_turned, turned

# Models put spaces into long figures: 9,154,985, 000.00.
_AMOUNT = re.compile(r"[-+−(]?\s*[¥$€£]?\s*\d[\d.,\s]*(?:%|‰)?\)?")
_SPACE_IN_AMOUNT = re.compile(r"(?<=\d\.)\s+(?=\d)|(?<=\d,)\s+(?=\d{3}(?!\d))")
_SPACE_IN_GROUPS = re.compile(r"(?<![\d,.])(\d{1,3}(?:,\s?\d{3})+)(?![\d,])")
Image = NDArray[np.uint8]  # (height, width, 3), blue first
_Points = NDArray[np.float64]

_MAX_CPU_SECONDS = 90.0  # for one page: a dense one takes 10 to 20, however busy the machine is
_DETECTION_SIDE = 1280  # pixels, at most: finding lines needs fewer than reading them
_MIN_SCORE = 0.5
_TALL = 2.5  # times as high as wide: a line that runs up or down, and not a lone 1 or l
_SAMPLE = 9  # lines that tell whether the page is upside down
# By the height of a line's box, as measured on pages whose text layer has the places: the size of characters, the
# distance of the baseline from the lower side, and what is empty at either end.
_SIZE, _DESCENT, _MARGIN = 0.83, 0.24, 0.11
_SAME_ROW = 0.5  # of the lower box
_M_MMAP_THRESHOLD, _LARGE_BLOCK = -3, 1 << 20  # bytes; see mallopt(3)
_MAX_SKEW = math.radians(15)


def read_image(image: Image, scale: float, report: Callable[[], None]) -> tuple[list[Line], float]:
    """The lines in the image of a page in reading order, and the height of the page as they are read.

    `scale`: pixels per point. `report` is called again and again meanwhile. Errors: `TimeoutError` for a page that
    takes too long, and those of the libraries.
    """
    deadline = time.process_time() + _MAX_CPU_SECONDS
    image, quarters, boxes = _upright(np.ascontiguousarray(image), report)
    width, height = image.shape[1] / scale, image.shape[0] / scale
    texts = _read(image, boxes, deadline, report)
    found = [(text, box) for text, box in zip(texts, boxes, strict=True) if text.strip()]
    level = [(text, box) for text, box in found if not _is_tall(box)]
    skew = _skew([box for _, box in level])
    lines = read_lines(list(_runs([text for text, _ in level], [box for _, box in level], skew, scale, height)))
    for line in lines:
        drawn = turned([(x, height - y) for x, y in corners(line)], skew)
        line.box = box_around(quarter_turned([(x / width, y / height) for x, y in drawn], quarters))
    for text, box in found:
        if _is_tall(box):
            left, right = box[:, 0].min() / scale, box[:, 0].max() / scale
            line = Line(text, left, right, height - box[:, 1].max() / scale, right - left, left, right)
            line.box = box_around(
                quarter_turned([(x / scale / width, y / scale / height) for x, y in box.tolist()], quarters)
            )
            lines.append(line)
    return lines, height


# --- finding and reading lines ---


@cache
def _engine(*steps: str) -> Any:
    """An engine that does some of the steps "det", "cls" and "rec": find lines, tell how they are turned, read them."""
    _return_memory()
    return import_rapidocr().RapidOCR(
        params={
            **{f"Global.use_{step}": step in steps for step in ("det", "cls", "rec")},
            "Global.use_preprocess_img": False,
            "Global.log_level": "critical",
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "Det.limit_type": "max",
            "Det.limit_side_len": _DETECTION_SIDE,
            "Rec.rec_img_shape": [3, 48, 160],  # the least width: the cells of tables are short
        }
    )


def _return_memory() -> None:
    """Have large blocks given back to the system as soon as they are free: 240 MB stay instead of 600."""
    with suppress(AttributeError, OSError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


def _upright(image: Image, report: Callable[[], None]) -> tuple[Image, int, list[_Points]]:
    """The page turned so that most of its lines can be read, and the corners of each line, from its upper left on.

    Also, how many quarter turns with the clock turn it back.
    """
    quarters = 0
    boxes = _find(image)
    report()
    tall = sum(_sides(box)[1] for box in boxes if _is_tall(box))
    if tall > sum(_sides(box)[0] for box in boxes if not _is_tall(box)):
        image, quarters = np.ascontiguousarray(np.rot90(image)), 1
        boxes = _find(image)
        report()
    level = sorted((box for box in boxes if not _is_tall(box)), key=lambda box: -_sides(box)[0])[:_SAMPLE]
    if sum(_is_upside_down(crop) for crop in _crops(image, level)) > len(level) / 2:
        image, quarters = np.ascontiguousarray(image[::-1, ::-1]), quarters + 2
        boxes = _find(image)
        report()
    return image, quarters, boxes


def _find(image: Image) -> list[_Points]:
    boxes = _engine("det")(image).boxes
    return [] if boxes is None else [np.asarray(box, np.float64) for box in boxes]


def _sides(box: _Points) -> tuple[float, float]:
    """Width and height of a line."""
    return float(np.linalg.norm(box[1] - box[0])), float(np.linalg.norm(box[3] - box[0]))


def _is_tall(box: _Points) -> bool:
    width, height = _sides(box)
    return height >= _TALL * width


def _crops(image: Image, boxes: Sequence[_Points]) -> list[Image]:
    """The images of the lines. RapidOCR lays down those that are higher than wide; a lone character must stand."""
    crops: list[Image] = _engine("det").crop_text_regions(image, [box.astype(np.float32) for box in boxes])
    for index, box in enumerate(boxes):
        width, height = _sides(box)
        if not _is_tall(box) and int(height) >= 1.5 * int(width):
            crops[index] = np.ascontiguousarray(np.rot90(crops[index], -1))
    return crops


def _is_upside_down(crop: Image) -> bool:
    ((label, score),) = _engine("cls")(crop).cls_res
    return bool(label == "180" and score > 0.9)


def _read(image: Image, boxes: Sequence[_Points], deadline: float, report: Callable[[], None]) -> list[str]:
    """The text of each line; empty where none can be made out."""
    engine = _engine("rec")

    def read(crop: Image, is_tall: bool) -> str:
        if time.process_time() > deadline:
            raise TimeoutError
        if is_tall and _is_upside_down(crop):
            crop = np.ascontiguousarray(crop[::-1, ::-1])
        result = engine(crop)
        return _joined(str(result.txts[0])) if result.txts and result.scores[0] >= _MIN_SCORE else ""

    with ThreadPoolExecutor(available_cpus(), thread_name_prefix="ocr") as pool:
        texts = []
        for text in pool.map(read, _crops(image, boxes), map(_is_tall, boxes)):
            texts.append(text)
            report()
        return texts


def _joined(text: str) -> str:
    """The text without the spaces inside its figures."""
    if _AMOUNT.fullmatch(text):
        return _SPACE_IN_AMOUNT.sub("", text)
    return _SPACE_IN_GROUPS.sub(lambda match: "".join(match[1].split()) if "," in match[1] else match[1], text)


# --- places ---


def _runs(
    texts: Sequence[str], boxes: Sequence[_Points], skew: float, scale: float, height: float
) -> Iterator[TextRun]:
    """The lines on the page turned so that they are level. What stands in one row has one size and one baseline."""
    back = np.array([[math.cos(skew), -math.sin(skew)], [math.sin(skew), math.cos(skew)]])
    for row in _rows([(text, *_place(box @ back)) for text, box in zip(texts, boxes, strict=True)]):
        size = median(bottom - top for _, _, _, top, bottom in row) / scale
        baseline = height - median(bottom for *_, bottom in row) / scale + _DESCENT * size
        for text, left, right, _, _ in row:
            begin, end = left / scale + _MARGIN * size, right / scale - _MARGIN * size
            yield TextRun(text.strip(), begin, end, baseline, _SIZE * size, has_space_before=True)


def _skew(boxes: Sequence[_Points]) -> float:
    """How far the page is from level, in radians, as the longest lines show."""
    longest = sorted(boxes, key=lambda box: -_sides(box)[0])[:_SAMPLE]
    skew = median([math.atan2(box[1, 1] - box[0, 1], box[1, 0] - box[0, 0]) for box in longest]) if longest else 0.0
    return skew if abs(skew) <= _MAX_SKEW else 0.0


def _place(box: _Points) -> tuple[float, float, float, float]:
    """Left, right, top and bottom; those in the middle of a side that is not level."""
    left, right = (box[0, 0] + box[3, 0]) / 2, (box[1, 0] + box[2, 0]) / 2
    return float(left), float(right), float(box[0, 1] + box[1, 1]) / 2, float(box[2, 1] + box[3, 1]) / 2


_Placed = tuple[str, float, float, float, float]


def _rows(placed: list[_Placed]) -> Iterator[list[_Placed]]:
    """Lines that stand side by side, from the top to the bottom."""
    row: list[_Placed] = []
    for line in sorted(placed, key=lambda line: line[3] + line[4]):
        top, bottom = line[3:]
        if row:
            row_top, row_bottom = median(each[3] for each in row), median(each[4] for each in row)
            overlap = min(bottom, row_bottom) - max(top, row_top)
            if overlap < _SAME_ROW * min(bottom - top, row_bottom - row_top):
                yield sorted(row, key=lambda each: each[1])
                row = []
        row.append(line)
    if row:
        yield sorted(row, key=lambda each: each[1])
