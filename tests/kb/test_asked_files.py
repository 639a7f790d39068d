"""What a question has of the files of its conversation: waiting for them, and pictures for models that take images."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from PIL import Image

from kb.access import Principal
from kb.asked_files import AskedFiles, FilesAwaited, show_pictures, wait_for_files
from kb.completions.images import with_images
from kb.errors import ImageUnreadable, NotFound
from kb.llm import ChatModel
from kb.messages import Attached, LeftOut
from kb.models import Document, Original, Scope, Version, VersionState
from kb.pictures import LONGEST_SIDE, MOST_BYTES, to_data_url
from kb.providers.connection import ModelSettings
from kb.providers.sight import seems_to_see

USER, CONVERSATION = Principal(uuid4()), uuid4()
NOW = datetime.now(UTC)


def document(name: str, state: VersionState, media_type: str = "text/plain", error: str = "") -> Document:
    document_id = uuid4()
    version = Version(uuid4(), document_id, state, "", 1, NOW, error=error, media_type=media_type)
    return Document(document_id, CONVERSATION, name, version.id if state is VersionState.READY else None, NOW, version)


def came(*documents: Document) -> list[Attached]:
    return [Attached(str(each.id), each.name) for each in documents]


@dataclass
class Files:
    """The files of one conversation; each look at them finds the next state."""

    looks: list[list[Document]]
    folder: Path = Path()
    searched: list[Scope] = field(default_factory=list)

    def list(self, principal: Principal, conversation_id: UUID) -> Sequence[Document]:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def original(self, principal: Principal, document: Document) -> Original:
        return Original(document.name, self.folder / document.name, document.latest.media_type)


def wait(files: Files, *attached: Document) -> list[FilesAwaited | AskedFiles]:
    async def collect() -> list[FilesAwaited | AskedFiles]:
        return [each async for each in wait_for_files(files, USER, CONVERSATION, Scope(), came(*attached))]

    return asyncio.run(collect())


def test_question_waits_until_each_file_is_ready_or_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb.asked_files.LOOK_SECONDS", 0)
    ready, queued = document("a.md", VersionState.READY), document("b.md", VersionState.QUEUED)
    failed = document("b.md", VersionState.FAILED, error="no_text")
    begun = document("a.md", VersionState.PARSING)
    *waited, asked = wait(Files([[begun, queued], [ready, queued], [ready, failed]]), failed)
    assert waited == [FilesAwaited(2), FilesAwaited(1), FilesAwaited(0)]
    assert asked == AskedFiles(
        Scope((CONVERSATION,)), has_any=True, has_texts=True, failed={failed.id: LeftOut("b.md", "no_text")}
    )


def test_failure_is_told_with_the_question_that_brought_the_file() -> None:
    assert wait(Files([[document("a.md", VersionState.FAILED, error="no_text")]])) == [
        AskedFiles(Scope(), has_any=True)
    ]


@pytest.fixture
def photo(tmp_path: Path) -> Document:
    Image.new("RGBA", (4000, 2000), (200, 30, 30, 128)).save(tmp_path / "photo.png")
    return document("photo.png", VersionState.FAILED, "image/png", "no_text")


def shown(photo: Document, folder: Path, model: ChatModel | None) -> tuple[list[str], tuple[LeftOut, ...]]:
    files = Files([[photo]], folder)
    (asked,) = wait(files, photo)
    assert isinstance(asked, AskedFiles)
    return show_pictures(files, USER, asked, came(photo), model)


def test_picture_goes_to_a_model_that_takes_images(photo: Document, tmp_path: Path) -> None:
    (address,), left_out = shown(photo, tmp_path, ChatModel("gpt-4o", "http://host/v1", "test"))
    kind, _, data = address.partition(",")
    assert kind == "data:image/jpeg;base64"
    assert len(base64.b64decode(data)) <= MOST_BYTES
    with Image.open(io.BytesIO(base64.b64decode(data))) as sent:
        assert max(sent.size) == LONGEST_SIDE
    assert left_out == ()  # that it has no text is no matter


def test_model_that_takes_no_images_is_named(photo: Document, tmp_path: Path) -> None:
    sent, (left_out,) = shown(photo, tmp_path, ChatModel("deepseek-chat", "http://host/v1", "test"))
    assert sent == []
    assert (left_out.code, left_out.values["model"]) == ("image_not_seen", "deepseek-chat")


def test_pictures_of_the_same_name_are_told_apart(photo: Document, tmp_path: Path) -> None:
    files, other = Files([[photo]], tmp_path), document("photo.png", VersionState.FAILED, "text/plain", "no_text")
    lost = LeftOut(other.name, "no_text")
    asked = AskedFiles(Scope(), pictures=(photo,), failed={photo.id: lost, other.id: lost})
    seeing = ChatModel("gpt-4o", "http://host/v1", "test")
    sent, left_out = show_pictures(files, USER, asked, came(photo, other), seeing)
    assert (len(sent), left_out) == (1, (lost,))


def test_picture_that_is_removed_meanwhile_is_left_out_without_a_word(photo: Document) -> None:
    @dataclass
    class Removed(Files):
        def original(self, principal: Principal, document: Document) -> Original:
            raise NotFound(what="document")

    asked = AskedFiles(Scope(), pictures=(photo,), failed={photo.id: LeftOut(photo.name, "no_text")})
    seeing = ChatModel("gpt-4o", "http://host/v1", "test")
    assert show_pictures(Removed([[photo]]), USER, asked, came(photo), seeing) == ([], ())


def test_provider_says_otherwise_than_the_name(photo: Document, tmp_path: Path) -> None:
    told = ModelSettings(sees_images=True)
    sent, left_out = shown(photo, tmp_path, ChatModel("deepseek-chat", "http://host/v1", "test", settings=told))
    assert (len(sent), left_out) == (1, ())
    assert not ChatModel("gpt-4o", "http://host/v1", "test", settings=ModelSettings(sees_images=False)).sees_images


def write_text(path: Path) -> None:
    path.write_text("no picture")


def write_huge(path: Path) -> None:
    Image.new("1", (20_000, 10_000)).save(path, "PNG")


@pytest.mark.parametrize("write", [write_text, write_huge])
def test_picture_that_cannot_be_shown_is_an_error(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "a.png")
    with pytest.raises(ImageUnreadable, match=r"a\.png"):
        to_data_url(Original("a.png", tmp_path / "a.png", "image/png"))


def test_images_stand_in_the_last_question() -> None:
    messages = [("system", "Rules"), ("user", "Before"), ("assistant", "Yes"), ("user", "What is this?")]
    *before, asked = with_images(messages, ["data:1"])
    assert all(isinstance(each["content"], str) for each in before)
    assert asked["content"] == [
        {"type": "image_url", "image_url": {"url": "data:1"}},
        {"type": "text", "text": "What is this?"},
    ]
    assert with_images(messages, ["data:1"], is_for_responses=True)[-1]["content"][0] == {
        "type": "input_image",
        "image_url": "data:1",
    }


@pytest.mark.parametrize(
    ("name", "sees"),
    [
        ("gpt-4o-mini", True),
        ("gpt-3.5-turbo", False),
        ("openai/o3", True),
        ("o3-mini", False),
        ("qwen2.5-vl:7b", True),
        ("Qwen/Qwen3-VL-8B", True),
        ("qwen-plus", False),
        ("deepseek-chat", False),
        ("deepseek-vl2", True),
        ("glm-4.5v", True),
        ("glm-4.5", False),
        ("llava:13b", True),
        ("llama3.2-vision", True),
        ("llama3.2", False),
        ("gemma3:12b", True),
        ("claude-sonnet-4-5", True),
        ("gemini-2.5-flash", True),
        ("gemini-embedding-001", False),
        ("text-embedding-3-large", False),
        ("fake", False),
    ],
)
def test_name_suggests_whether_a_model_takes_images(name: str, sees: bool) -> None:
    assert seems_to_see(name) is sees
