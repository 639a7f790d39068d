"""The body of an answer, unpacked while it arrives, so that it is never larger than the limit."""

from __future__ import annotations

import zlib

import httpx

from kb.errors import N_, PageBroken, PageTooLarge

ENCODINGS = ("gzip", "deflate")
_EITHER_HEADER = zlib.MAX_WBITS | 32  # gzip's or zlib's
_NO_HEADER = -zlib.MAX_WBITS


class Body:
    """The body of `response`, of at most `limit` bytes; errors name the page by `shown`."""

    def __init__(self, response: httpx.Response, shown: str, limit: int) -> None:
        self._headers = response.headers
        self._blocks = response.aiter_raw()
        self._shown = shown
        self._limit = limit
        self._data = bytearray()
        self._received = 0
        self._unpack: _Unpacker | None = None
        self._has_begun = self._has_ended = False

    async def begins_with(self, beginning: bytes) -> bool:
        """Whether it does; no more of it is read than that takes. Not if it cannot be unpacked."""
        try:
            while len(self._data) < len(beginning) and not self._has_ended:
                await self._read_block()
        except PageBroken:
            return False
        return self._data.startswith(beginning)

    async def read(self) -> bytes:
        """The whole body; raises `PageTooLarge` or `PageBroken`."""
        length = self._headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._limit:
            raise self._too_large()
        while not self._has_ended:
            await self._read_block()
        if self._unpack and self._received and not self._unpack.is_complete:
            raise self._corrupt()
        return bytes(self._data)

    async def _read_block(self) -> None:
        if not self._has_begun:
            self._unpack = _unpacker(self._headers.get("content-encoding", ""), self._shown)
            self._has_begun = True
        block = await anext(self._blocks, None)
        if block is None:
            self._has_ended = True
            return
        self._received += len(block)
        try:
            self._data += self._unpack.feed(block, self._limit + 1 - len(self._data)) if self._unpack else block
        except zlib.error as error:
            raise self._corrupt() from error
        if self._received > self._limit or len(self._data) > self._limit:
            raise self._too_large()

    def _too_large(self) -> PageTooLarge:
        return PageTooLarge(address=self._shown, limit=f"{self._limit / 1_000_000:g}")

    def _corrupt(self) -> PageBroken:
        return PageBroken(address=self._shown, detail=N_("its compressed data is corrupt"))


def _unpacker(encoding: str, shown: str) -> _Unpacker | None:
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding.removeprefix("x-") not in ENCODINGS:  # one that we did not ask for, or several
        raise PageBroken(address=shown, detail=N_("its compression is unknown"))
    return _Unpacker()


class _Unpacker:
    """gzip or deflate, the latter with zlib's header or, as some servers send it, without."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_EITHER_HEADER)
        self._has_begun = False

    @property
    def is_complete(self) -> bool:
        return self._inflate.eof

    def feed(self, block: bytes, most: int) -> bytes:
        """Up to `most` bytes of what is packed in `block`; more than that are lost."""
        try:
            unpacked = self._inflate.decompress(block, most)
        except zlib.error:
            if self._has_begun:
                raise
            self._inflate = zlib.decompressobj(_NO_HEADER)
            unpacked = self._inflate.decompress(block, most)
        self._has_begun = True
        return unpacked
