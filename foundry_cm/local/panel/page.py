"""The files of the page, as they lie in the package."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).parent.parent / "page"
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


def routes() -> list[web.RouteDef]:
    """The page at `/`, and its other files below `/page/`, each by its exact name."""
    files = {path.name: path for path in FOLDER.iterdir() if path.suffix in _TYPES}

    def answer(path: Path) -> web.Response:
        # Read anew: who works on the page reloads it, and the files are small.
        return web.Response(
            body=path.read_bytes(),
            content_type=_TYPES[path.suffix],
            charset="utf-8",
            headers={"Cache-Control": "no-cache"},
        )

    async def index(_request: web.Request) -> web.StreamResponse:
        return answer(files["index.html"])

    async def part(request: web.Request) -> web.StreamResponse:
        path = files.get(request.match_info["name"])
        if path is None:
            raise web.HTTPNotFound
        return answer(path)

    return [web.get("/", index), web.get("/page/{name}", part)]
