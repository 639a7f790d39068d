"""Offers the tools by the protocol. The package `mcp` takes 0.7 s and 20 MB to import, so it is loaded at first use."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import BaseModel, ValidationError

from kb import tracing
from kb.access import Principal
from kb.errors import KbError
from kb.fair_threads import FairThreads
from kb.services import Services
from kb.tools.catalogue import INSTRUCTIONS, TOOLS

if TYPE_CHECKING:
    from mcp import types
    from mcp.server import ServerRequestContext
    from mcp.server.lowlevel import Server

log = structlog.get_logger()

NAME, TITLE = "zhiwen", "Zhiwen 知问"
CODE = "zhiwen/code"  # in the metadata of a failed call
EXECUTE_TOOL = "execute_tool"  # what OpenTelemetry calls it
CALLS_AT_ONCE, CALLS_OF_USER = 8, 4  # of this process; others wait their turn: a grep may take ten seconds
MOST_NAMED = 10  # arguments that are not valid


class ToolServer:
    """`services` and `acting` say with what and for whom a request is answered; `tell` is the text of an error.

    All three get what the transport has of the request: for HTTP the request, else None.
    """

    def __init__(
        self,
        services: Callable[[Any], Services],
        acting: Callable[[Any], Principal],
        tell: Callable[[KbError, Any], str],
    ) -> None:
        self._services, self._acting, self._tell = services, acting, tell
        self._threads = FairThreads(CALLS_AT_ONCE, CALLS_OF_USER)

    @cached_property
    def built(self) -> Server[Any]:
        from mcp.server.lowlevel import Server

        return Server(
            NAME,
            version=version("zhiwen"),
            title=TITLE,
            instructions=INSTRUCTIONS,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )

    async def _list(
        self, _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        from mcp import types

        return types.ListToolsResult(tools=_descriptions())

    async def _call(
        self, context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        from mcp import MCPError, types

        tool = TOOLS.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name[:100]}")
        try:
            given = tool.arguments.model_validate(params.arguments or {})
        except ValidationError as error:
            return _failure(_complaint(error), "invalid_arguments")
        acting = self._acting(context.request)
        called = {"gen_ai.operation.name": EXECUTE_TOOL, "gen_ai.tool.name": tool.name}
        try:
            with tracing.span(f"{EXECUTE_TOOL} {tool.name}", called):
                result = await self._threads.run(
                    acting.user_id, lambda: tool.call(self._services(context.request), acting, given)
                )
        except KbError as error:
            return _failure(self._tell(error, context.request), error.code)
        except Exception:  # a bug, of which the model need not know more
            log.exception("tool.failed", tool=tool.name)
            return _failure(self._tell(KbError(), context.request), KbError.code)
        return _success(result)


@cache
def _descriptions() -> list[types.Tool]:
    from mcp import types

    reads = types.ToolAnnotations(
        read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    )
    return [
        types.Tool(
            name=tool.name,
            title=tool.title,
            description=tool.description,
            input_schema=tool.arguments.model_json_schema(),
            output_schema=tool.result.model_json_schema(),
            annotations=reads,
        )
        for tool in TOOLS.values()
    ]


def _success(result: BaseModel) -> types.CallToolResult:
    """As JSON twice, as the protocol asks: for programs, and as a text for clients that know no other results."""
    from mcp import types

    found = result.model_dump(mode="json", exclude_none=True)
    text = types.TextContent(type="text", text=json.dumps(found, ensure_ascii=False))
    return types.CallToolResult(content=[text], structured_content=found)


def _failure(text: str, code: str) -> types.CallToolResult:
    from mcp import types

    content: list[types.ContentBlock] = [types.TextContent(type="text", text=text)]
    return types.CallToolResult(content=content, is_error=True, _meta={CODE: code})


def _complaint(error: ValidationError) -> str:
    """What is wrong with which argument, so that the model can mend it."""
    found = [
        ": ".join(filter(None, [".".join(map(str, each["loc"])), str(each["msg"])]))
        for each in error.errors(include_url=False)[:MOST_NAMED]
    ]
    return "The arguments are not valid. " + "; ".join(found)
