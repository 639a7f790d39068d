"""The scripts of our components that the browser loads from an address; see `pages.ui.scripts`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from pages.ui.scripts import ADDRESS, SCRIPTS
from web.base_path import BASE_PATH

_FOR_GOOD = "public, max-age=31536000, immutable"  # another version has another address


async def script(request: Request) -> Response:
    path = SCRIPTS.get(request.path_params["name"])
    if path is None:
        return Response(status_code=404)
    return FileResponse(path, headers={"Cache-Control": _FOR_GOOD}, media_type="text/javascript")


def script_routes() -> list[Route]:
    return [Route(f"{BASE_PATH}{ADDRESS}/{{name}}", script, methods=["GET"])]
