"""The application: its routes, and what they need from start to end.

GET /  the page   GET /tasks   POST /predict?task=a&task=b   GET /healthz   GET /metrics   GET /docs, /openapi.json
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.responses import HTMLResponse, JSONResponse

from nettailor.environment import versions
from nettailor.suite.server.batching import Batcher
from nettailor.suite.server.current import CurrentSuite, Networks
from nettailor.suite.server.guard import Guard
from nettailor.suite.server.metrics import Metrics
from nettailor.suite.server.page import Page, docs_page, main_page
from nettailor.suite.server.predicting import BadPictures, Predictor
from nettailor.suite.server.schema import PICTURES, REFUSALS, Health, Prediction, TaskInfo, TaskList
from nettailor.suite.server.settings import ServeSettings
from nettailor.suite.suite import Suite

MOST_TOP = 1000
ABOUT = "Many recognition tasks over one frozen backbone: send a picture, name the tasks, get classes."
Credentials = HTTPAuthorizationCredentials | None


def make_app(suite_path: Path, settings: ServeSettings, load: Callable[[Path], Networks] | None = None) -> FastAPI:
    """The application that serves a suite's folder.

    Args:
        load: how a suite is loaded from its folder; `Suite.load` if left out.

    Raises:
        NettailorError: the suite can't be loaded.
    """
    current = CurrentSuite(suite_path, load or _loader(settings))
    metrics = Metrics()
    batcher = Batcher(settings, metrics.observe_batch)
    metrics.follow(current, batcher)
    predictor = Predictor(current, batcher, metrics, settings)

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        stop = threading.Event()
        watcher = threading.Thread(target=current.watch, args=(settings.poll, stop), name="suite", daemon=True)
        batcher.start()
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            batcher.close()
            predictor.close()

    app = FastAPI(
        title="nettailor",
        version=versions()["nettailor"],
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        lifespan=living,
    )
    app.state.current = current
    app.add_middleware(Guard, settings=settings, metrics=metrics)
    _add_errors(app)
    _add_answers(app, current, predictor, settings)
    _add_state(app, current, batcher, metrics, settings)
    _add_pages(app)
    return app


def _loader(settings: ServeSettings) -> Callable[[Path], Networks]:
    return lambda path: Suite.load(path, settings.device, settings.mode, settings.backbone)


def _add_errors(app: FastAPI) -> None:
    """Every refusal has one shape: `detail`, a plain line."""

    @app.exception_handler(BadPictures)
    async def bad_pictures(_: Request, error: BadPictures) -> Response:
        named = [about.model_dump() for about in error.pictures]
        return JSONResponse({"detail": str(error), "pictures": named}, error.status)

    @app.exception_handler(RequestValidationError)
    async def bad_query(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return JSONResponse({"detail": f"{first['loc'][-1]}: {first['msg'][:1].lower()}{first['msg'][1:]}"}, 422)

    @app.exception_handler(Exception)
    async def fault(_: Request, error: Exception) -> Response:
        return JSONResponse({"detail": f"unexpected {type(error).__name__}; the server's log has more"}, 500)


def _authorised(credentials: Credentials, token: str | None) -> bool:
    if token is None:
        return True
    return credentials is not None and secrets.compare_digest(credentials.credentials.encode(), token.encode())


def _token_check(settings: ServeSettings) -> Any:
    """A dependency that comes before the body is read."""

    async def check(
        credentials: Annotated[Credentials, Depends(HTTPBearer(auto_error=False))],
    ) -> None:
        if not _authorised(credentials, settings.token):
            raise HTTPException(
                401, "send the server's token: Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"}
            )

    return Depends(check)


def _add_answers(app: FastAPI, current: CurrentSuite, predictor: Predictor, settings: ServeSettings) -> None:
    allowed = [_token_check(settings)]

    @app.get("/tasks", dependencies=allowed, responses={401: REFUSALS[401]})
    async def tasks() -> TaskList:
        """The suite's tasks and their classes."""
        now = current.now
        found = [TaskInfo(name=task, classes=list(now.classes[task])) for task in now.tasks]
        return TaskList(
            suite=now.version, tasks=found, input_size=now.suite.spec.size, max_pictures=settings.max_pictures
        )

    @app.post("/predict", dependencies=allowed, responses=REFUSALS, openapi_extra=PICTURES, response_model=Prediction)
    async def predict(
        request: Request,
        task: Annotated[list[str] | None, Query(description="once for every task that is asked")] = None,
        top: Annotated[int, Query(ge=1, le=MOST_TOP, description="how many classes for each task")] = 1,
    ) -> Response:
        """Classes of one picture or several: as a form with one or more files, or one picture as the body."""
        answer = await predictor(request, task or [], top)
        return Response(answer.model_dump_json(), media_type="application/json")


def _add_state(
    app: FastAPI, current: CurrentSuite, batcher: Batcher, metrics: Metrics, settings: ServeSettings
) -> None:
    @app.get("/healthz", responses={503: {"model": Health, "description": "nothing is answered"}})
    async def healthz(
        credentials: Annotated[Credentials, Depends(HTTPBearer(auto_error=False))], response: Response
    ) -> Health:
        """Whether requests are answered; needs no token, and says what is wrong only to those who have it."""
        now = current.now
        state = "ok" if current.problem is None else "stale"
        if not batcher.alive:
            state, response.status_code = "down", 503
        problem = current.problem if _authorised(credentials, settings.token) else None
        return Health(status=state, suite=now.version, since=now.since, tasks=len(now.tasks), problem=problem)

    @app.get("/metrics", dependencies=[_token_check(settings)], response_class=Response)
    async def prometheus() -> Response:
        """Figures in Prometheus' text format."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_pages(app: FastAPI) -> None:
    page = main_page()

    def html(page: Page) -> Response:
        return HTMLResponse(page.html, headers={"Content-Security-Policy": page.policy})

    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return html(page)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return html(docs_page(app.openapi()))
