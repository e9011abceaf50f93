"""The page's server: static files and a few read-only JSON answers.

Invariant: it answers GET alone, under a content policy that runs no script but its own files, and only to a browser that
asked for this machine by its own name (a page elsewhere cannot reach it by a rebound host name).
"""

import math
from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vgrout.errors import UserError
from vgrout.rows import Row
from vgrout_cli.report.style import LOOKS
from vgrout_cli.view.reader import Query, RunView, find_runs, matching
from vgrout_cli.view.several import side_by_side, suite_grids
from vgrout_cli.view.text import coloured, visible

STATIC = Path(__file__).parent / "static"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
MAX_PAGE, MAX_GROUP = 500, 64


class SafetyHeaders:
    """Puts HEADERS on every response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in HEADERS.items())]
            await send(message)

        await self.app(scope, receive, sent)


class Runs:
    """The runs below the given folders; new ones are found whenever the list is asked for."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths, self.views = paths, dict[str, RunView]()

    def summaries(self) -> list[Row]:
        """One summary a run, with the id that the other questions name it by."""
        for path in find_runs(self.paths):
            key = str(path)
            if key not in self.views:
                try:
                    self.views[key] = RunView(path)
                except (OSError, UserError):  # run.json is half there or no JSON: perhaps next time
                    continue
        return [{"id": i, **view.summary()} for i, view in enumerate(self.views.values())]

    def view(self, request: Request) -> RunView | None:
        """The run that a request names."""
        return self.numbered(request.path_params["run"])

    def numbered(self, number: int) -> RunView | None:
        """The run with a number that `summaries` gave it."""
        if not self.views:
            self.summaries()
        known = list(self.views.values())
        return known[number] if 0 <= number < len(known) else None


def query_of(request: Request) -> Query:
    """The filter in a request's query string. Raises ValueError for a number that is none."""
    q = request.query_params
    return Query(
        update=int(q["update"]) if q.get("update") else None,
        group=int(q["group"]) if q.get("group") else None,
        mode=q.get("mode", ""),
        label=q.get("label", ""),
        outcome=q.get("outcome", ""),
        min_score=float(q.get("min_score") or "-inf"),
        max_score=float(q.get("max_score") or "inf"),
        text=q.get("text", ""),
        offset=max(0, int(q.get("offset") or 0)),
        limit=min(MAX_PAGE, max(1, int(q.get("limit") or 50))),
    )


def shown(row: Row) -> Row:
    """A rollout whose texts are safe to look at."""
    return {**row, "prompt": visible(row.get("prompt", "")), "text": coloured(row["text"])}


def finite(value: object) -> object:
    """JSON without NaN: a number that is not finite becomes null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    return [finite(v) for v in value] if isinstance(value, list | tuple) else value


def app(paths: list[Path]) -> Starlette:
    """The application over the run directories at and below `paths`."""
    runs = Runs(paths)

    async def answer(request: Request, ask: Callable[[RunView], object]) -> Response:
        view = runs.view(request)
        if view is None:
            return JSONResponse({"error": "no such run"}, 404)
        try:
            said = await run_in_threadpool(ask, view)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(finite(said)) if said is not None else JSONResponse({"error": "no such rollout"}, 404)

    async def index(request: Request) -> Response:
        return Response((STATIC / "index.html").read_bytes(), media_type="text/html")

    async def all_runs(request: Request) -> Response:
        return JSONResponse(finite(await run_in_threadpool(runs.summaries)))

    async def metrics(request: Request) -> Response:
        q = request.query_params
        return await answer(request, lambda v: v.metrics_since(int(q.get("since") or 0), int(q.get("generation") or 0)))

    async def rollouts(request: Request) -> Response:
        def ask(view: RunView) -> Row:
            found = view.search(query_of(request))
            return {**found, "rows": [{**row, "preview": visible(row["preview"])} for row in found["rows"]]}

        return await answer(request, ask)

    async def rollout(request: Request) -> Response:
        def ask(view: RunView) -> Row | None:
            row = view.rollout(request.path_params["update"], request.path_params["rollout"])
            return None if row is None else shown(row)

        return await answer(request, ask)

    async def group(request: Request) -> Response:
        def ask(view: RunView) -> Row:
            wanted = Query(update=request.path_params["update"], group=request.path_params["group"])
            return {"rows": [shown(row) for row in matching(view.rows(), wanted)[:MAX_GROUP]]}

        return await answer(request, ask)

    async def examples(request: Request) -> Response:
        return await answer(request, lambda view: view.examples())

    async def timeline(request: Request) -> Response:
        q = request.query_params
        return await answer(request, lambda view: view.timeline(int(q.get("first") or 0), int(q.get("last") or -10)))

    async def suites(request: Request) -> Response:
        return JSONResponse(finite(await run_in_threadpool(lambda: suite_grids(runs.summaries(), runs.views))))

    async def looks(request: Request) -> Response:
        return JSONResponse({name: vars(look) for name, look in LOOKS.items()})

    async def compare(request: Request) -> Response:
        first, second = (runs.numbered(int(request.query_params.get(name) or -1)) for name in ("first", "second"))
        if first is None or second is None:
            return JSONResponse({"error": "no such run"}, 404)
        return JSONResponse(finite(await run_in_threadpool(side_by_side, first, second)))

    async def scores(request: Request) -> Response:
        return await answer(request, lambda view: view.scores())

    routes = [
        Route("/", index),
        Route("/api/runs", all_runs),
        Route("/api/runs/{run:int}/metrics", metrics),
        Route("/api/runs/{run:int}/rollouts", rollouts),
        Route("/api/runs/{run:int}/rollouts/{update:int}/{rollout:str}", rollout),
        Route("/api/runs/{run:int}/groups/{update:int}/{group:int}", group),
        Route("/api/runs/{run:int}/scores", scores),
        Route("/api/runs/{run:int}/examples", examples),
        Route("/api/runs/{run:int}/timeline", timeline),
        Route("/api/suites", suites),
        Route("/api/compare", compare),
        Route("/api/looks", looks),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
    return Starlette(routes=routes, middleware=[Middleware(SafetyHeaders), hosts])
