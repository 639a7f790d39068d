"""`zhiwen mcp`: the tools of `kb.tools` over standard input and output, for a program that starts it."""

from __future__ import annotations

import argparse

import anyio

from kb.cli.connecting import Connected, OpenQueue, connected
from kb.tools.server import ToolServer


def run(asked: argparse.Namespace, open_queue: OpenQueue) -> int:
    with connected(open_queue) as to:
        anyio.run(_serve, to)
    return 0


async def _serve(to: Connected) -> None:
    """Until standard input ends. What anything else prints meanwhile goes to standard error: see `stdio_server`."""
    from mcp.server.stdio import stdio_server

    tools = ToolServer(lambda _request: to.services, lambda _request: to.principal, lambda error, _request: str(error))
    async with stdio_server() as (incoming, outgoing):
        await tools.built.run(incoming, outgoing, tools.built.create_initialization_options())
