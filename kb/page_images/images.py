"""Draws pages in a child process, since files may be hostile, and keeps the last images in memory."""

from __future__ import annotations

import base64
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Self

import structlog

from kb.errors import N_, PageNotDrawn
from kb.parsing.process import Child

_CACHE_BYTES = 32 << 20  # some hundred pages
_IDLE_SECONDS = 60.0  # after which the child, which takes 50 MB, ends
_Key = tuple[Path, int]

log = structlog.get_logger()


class PageImages:
    """One child, started at the first page. Several threads may share this; their pages are drawn in turn.

    `timeout_seconds` is for one page, with the start of the child.
    """

    def __init__(self, memory_mb: int, timeout_seconds: float = 15.0) -> None:
        self._memory_mb = memory_mb
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()  # held while a page is drawn
        self._child: Child | None = None
        self._rest: threading.Timer | None = None
        self._cache: OrderedDict[_Key, bytes] = OrderedDict()
        self._cached_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def draw(self, path: Path, name: str, media_type: str, page: int) -> bytes:
        """Page `page` (1-based) of a file whose format is in `DRAWN`, as a JPEG of at most three megapixels.

        `name` is the user's. The content of `path` must not change. Errors: `PageNotDrawn`.
        """
        with self._lock:
            key = (path, page)
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
            answer = self._ask({"path": str(path.resolve()), "media_type": media_type, "page": page})
            if answer["kind"] != "drawn":
                log.warning("page_image.failed", page=page, reason=answer["detail"])
                raise PageNotDrawn(name=name, page=page, detail=answer["detail"])
            image = base64.b64decode(answer["image"])
            self._keep(key, image)
            return image

    def close(self) -> None:
        """End the child; a later `draw` starts a new one."""
        with self._lock:
            self._stop()

    def _ask(self, request: dict[str, object]) -> dict[str, str]:
        """The child's answer, within the time. What crashes one that had drawn other pages gets a new one."""
        if self._rest:
            self._rest.cancel()
        was_used = self._child is not None
        answer = self._ask_child(request)
        if was_used and answer["kind"] == "crashed":
            answer = self._ask_child(request)
        if self._child:
            self._rest = threading.Timer(_IDLE_SECONDS, self.close)
            self._rest.daemon = True
            self._rest.start()
        return answer

    def _ask_child(self, request: dict[str, object]) -> dict[str, str]:
        try:
            if self._child is None or not self._child.is_alive:
                self._stop()
                self._child = Child("kb.page_images.child", self._memory_mb)
        except OSError:
            return {"kind": "failed", "detail": N_("no process can be started")}
        self._child.send(request)
        answer = self._child.receive(self._timeout_seconds)
        if answer is None:
            self._stop()
            return {"kind": "failed", "detail": N_("drawing it took too long")}
        if answer["kind"] == "crashed":
            self._stop()
            return {"kind": "crashed", "detail": N_("the program that draws it crashed")}
        return answer

    def _stop(self) -> None:
        if self._rest:
            self._rest.cancel()
            self._rest = None
        if self._child:
            self._child.kill()
            self._child = None

    def _keep(self, key: _Key, image: bytes) -> None:
        self._cache[key] = image
        self._cached_bytes += len(image)
        while self._cached_bytes > _CACHE_BYTES:
            _oldest, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= len(dropped)
