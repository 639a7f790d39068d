"""The body of an answer, unpacked while it arrives, so that it is never larger than the limit."""

from __future__ import annotations

import zlib

import httpx

from kb.errors import N_, PageBroken, PageTooLarge

ENCODINGS = ("gzip", "deflate")
_EITHER_HEADER = zlib.MAX_WBITS | 32  # gzip's or zlib's
_NO_HEADER = -zlib.MAX_WBITS


async def read_body(response: httpx.Response, shown: str, limit: int) -> bytes:
    """Read the body; raises `PageTooLarge` or `PageBroken`, which name the page by `shown`."""
    too_large = PageTooLarge(address=shown, limit=f"{limit / 1_000_000:g}")
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise too_large
    body, received = bytearray(), 0
    unpack = _unpacker(response.headers.get("content-encoding", ""), shown)
    async for block in response.aiter_raw():
        received += len(block)
        try:
            body += unpack.feed(block, limit + 1 - len(body)) if unpack else block
        except zlib.error as error:
            raise PageBroken(address=shown, detail=N_("its compressed data is corrupt")) from error
        if received > limit or len(body) > limit:
            raise too_large
    if unpack and received and not unpack.is_complete:
        raise PageBroken(address=shown, detail=N_("its compressed data is corrupt"))
    return bytes(body)


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
