"""Images of pages, drawn in a child process."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image
from pypdf import PdfWriter

from kb.errors import PageNotDrawn
from kb.page_images import PageImages, images
from kb.parsing.media_types import PDF, PNG, TIFF
from tests.kb.parsing import parsing_samples as samples
from tests.real_services import wait_until


@pytest.fixture
def page_images() -> Iterator[PageImages]:
    with PageImages(1024, timeout_seconds=30) as page_images:
        yield page_images


def drawn(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    assert image.format == "JPEG"
    return image


def dark(image: Image.Image) -> tuple[int, int, int, int] | None:
    """The box around what is dark."""
    return image.convert("L").point(lambda value: 255 * (value < 128)).getbbox()


def children() -> list[int]:
    """Those that live: one that was killed may be listed until its parent starts another process."""
    return [child.pid for child in psutil.Process().children() if _lives(child)]


def _lives(child: psutil.Process) -> bool:
    try:
        return child.status() != psutil.STATUS_ZOMBIE and "kb.page_images.child" in child.cmdline()
    except psutil.NoSuchProcess:
        return False


def test_pages_of_a_pdf_are_drawn_and_kept(page_images: PageImages, tmp_path: Path) -> None:
    path = samples.write(tmp_path, "a.pdf", samples.make_pdf(["One", "A much longer line"]))
    first, second = (page_images.draw(path, "a.pdf", PDF, page) for page in (1, 2))
    ends = [max(ink[2] for ink in [dark(drawn(content))] if ink) for content in (first, second)]
    assert ends[0] < ends[1]
    image = drawn(first)
    assert image.width <= 1301
    assert image.width * image.height <= 3_100_000
    path.unlink()
    assert page_images.draw(path, "a.pdf", PDF, 1) == first
    assert len(children()) == 1


def test_huge_page_gets_an_image_of_bounded_size(page_images: PageImages, tmp_path: Path) -> None:
    writer = PdfWriter()
    writer.add_blank_page(9, 14_000)
    writer.write(tmp_path / "a.pdf")
    image = drawn(page_images.draw(tmp_path / "a.pdf", "a.pdf", PDF, 1))
    assert image.width * image.height <= 3_100_000


def test_pictures_are_drawn_upright(page_images: PageImages, tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 20), "white")
    picture.paste("black", (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    picture.save(tmp_path / "a.png", exif=exif)
    image = drawn(page_images.draw(tmp_path / "a.png", "a.png", PNG, 1))
    assert image.size == (20, 40)
    assert dark(image) == (10, 0, 20, 10)
    picture.save(tmp_path / "a.tiff", save_all=True, append_images=[Image.new("RGB", (30, 30), "white")])
    assert drawn(page_images.draw(tmp_path / "a.tiff", "a.tiff", TIFF, 2)).size == (30, 30)


@pytest.mark.parametrize("page", [0, 2])
@pytest.mark.parametrize("media_type", [PDF, TIFF])
def test_missing_page_is_an_error(page_images: PageImages, tmp_path: Path, media_type: str, page: int) -> None:
    path = tmp_path / "a"
    if media_type == PDF:
        path.write_bytes(samples.make_pdf(["One"]))
    else:
        Image.new("L", (9, 9)).save(path, "TIFF")
    with pytest.raises(PageNotDrawn) as caught:
        page_images.draw(path, "a", media_type, page)
    assert caught.value.values == {"name": "a", "page": str(page), "detail": "part of it is missing or invalid"}


@pytest.mark.parametrize("media_type", [PDF, PNG])
def test_broken_file_is_an_error_and_the_next_page_is_drawn(
    page_images: PageImages, tmp_path: Path, media_type: str
) -> None:
    with pytest.raises(PageNotDrawn):
        page_images.draw(samples.write(tmp_path, "a", b"%PDF-1.4 nonsense"), "a", media_type, 1)
    path = samples.write(tmp_path, "b.pdf", samples.make_pdf(["One"]))
    assert page_images.draw(path, "b.pdf", PDF, 1)


def test_picture_that_is_too_large_is_an_error(page_images: PageImages, tmp_path: Path) -> None:
    Image.new("1", (30_000, 20_000)).save(tmp_path / "a.png")
    with pytest.raises(PageNotDrawn, match="too much memory"):
        page_images.draw(tmp_path / "a.png", "a.png", PNG, 1)


def test_page_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    path = samples.write(tmp_path, "a.pdf", samples.make_pdf(["One"]))
    with PageImages(1024, timeout_seconds=0.01) as page_images:
        with pytest.raises(PageNotDrawn, match="took too long"):
            page_images.draw(path, "a.pdf", PDF, 1)
        assert children() == []


def test_crash_ends_only_the_child(page_images: PageImages, tmp_path: Path) -> None:
    path = samples.write(tmp_path, "a.pdf", samples.make_pdf(["One", "Two", "Three"]))
    page_images.draw(path, "a.pdf", PDF, 1)
    (pid,) = children()
    psutil.Process(pid).kill()
    wait_until(lambda: not children(), what="the end of the child")
    assert page_images.draw(path, "a.pdf", PDF, 2)
    (pid,) = children()
    psutil.Process(pid).suspend()
    page_images._timeout_seconds = 0.01
    with pytest.raises(PageNotDrawn, match="took too long"):
        page_images.draw(path, "a.pdf", PDF, 3)


def test_idle_child_ends(page_images: PageImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_IDLE_SECONDS", 0.01)
    path = samples.write(tmp_path, "a.pdf", samples.make_pdf(["One"]))
    page_images.draw(path, "a.pdf", PDF, 1)
    wait_until(lambda: not children(), what="the end of the child")


def test_oldest_images_are_dropped(page_images: PageImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = samples.write(tmp_path, "a.pdf", samples.make_pdf(["One", "Two", "Three"]))
    sizes = [len(page_images.draw(path, "a.pdf", PDF, page)) for page in (1, 2)]
    page_images.draw(path, "a.pdf", PDF, 1)  # the second one is the oldest now
    monkeypatch.setattr(images, "_CACHE_BYTES", sum(sizes) + sizes[0] // 2)
    page_images.draw(path, "a.pdf", PDF, 3)
    path.unlink()
    assert page_images.draw(path, "a.pdf", PDF, 1)
    with pytest.raises(PageNotDrawn):
        page_images.draw(path, "a.pdf", PDF, 2)
