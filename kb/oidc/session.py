"""HTTP to a provider for one click, bounded in time and size."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

import anyio
import httpx2
import structlog
from authlib.integrations.httpx_client import AsyncOAuth2Client

from kb.environment import reach_directly
from kb.errors import ProviderUnavailable
from kb.oidc.settings import OidcProvider

TOTAL_SECONDS = 15.0  # for all that one click asks of a provider
MOST_BYTES = 1 << 20  # of a reply

log = structlog.get_logger()


@asynccontextmanager
async def bounded_session(provider: OidcProvider) -> AsyncIterator[AsyncOAuth2Client]:
    """Errors: `ProviderUnavailable` for all that breaks a connection, or makes no sense."""
    reach_directly(provider.issuer)
    try:
        with anyio.fail_after(TOTAL_SECONDS):
            async with AsyncOAuth2Client(
                provider.client_id,
                provider.client_secret.get_secret_value() or None,
                code_challenge_method="S256",
                timeout=TOTAL_SECONDS,
                verify=_tls(),
                headers={"Accept-Encoding": "identity"},  # nothing grows after it was counted
                event_hooks={"response": [_bound]},
            ) as http:
                yield http
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, RecursionError) as error:
        log.warning("oidc.unavailable", provider=provider.key, reason=type(error).__name__)
        raise ProviderUnavailable(name=provider.name) from None


@cache  # it reads all the system's authorities
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


async def _bound(response: httpx2.Response) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ValueError("compressed")
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream)


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for block in self._stream:
            size += len(block)
            if size > MOST_BYTES:
                raise ValueError("too large")
            yield block

    async def aclose(self) -> None:
        await self._stream.aclose()
