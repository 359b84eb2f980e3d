"""One request for answers, from its head to its JSON: admitted, read, decoded, batched, each within the time left.

Raises nothing but HTTPException and `BadPictures`; a request that is refused costs the others nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect
from torch import Tensor

from blocks import InputSpec
from nettailor.environment import usable_cores
from nettailor.errors import did_you_mean
from nettailor.suite.server.batching import Answers, Batcher, Job
from nettailor.suite.server.body import Upload, drain, read_uploads
from nettailor.suite.server.current import CurrentSuite, Loaded
from nettailor.suite.server.metrics import Metrics
from nettailor.suite.server.pictures import BadPicture, square_of
from nettailor.suite.server.schema import BadUpload, Guess, PictureAnswer, Prediction
from nettailor.suite.server.settings import ServeSettings

T = TypeVar("T")


class BadPictures(Exception):
    """Some of a request's pictures can't be answered."""

    def __init__(self, status: int, pictures: list[BadUpload]) -> None:
        super().__init__("; ".join(f"picture {bad.picture} ({bad.name}): {bad.problem}" for bad in pictures))
        self.status = status
        self.pictures = pictures


class Predictor:
    """What the route `/predict` does; `in_progress` requests are counted, and bounded by `queue`."""

    def __init__(self, current: CurrentSuite, batcher: Batcher, metrics: Metrics, settings: ServeSettings) -> None:
        self._current = current
        self._batcher = batcher
        self._metrics = metrics
        self._settings = settings
        self._decoders = ThreadPoolExecutor(usable_cores(), thread_name_prefix="pictures")
        self._in_progress = 0

    async def __call__(self, request: Request, tasks: list[str], top: int) -> Prediction:
        """Answer one request.

        Raises:
            HTTPException: it is refused as a whole.
            BadPictures: some of its pictures are.
        """
        try:
            loaded = self._current.now
            wanted = _known(tasks, loaded)
            if self._in_progress >= self._settings.queue:
                raise HTTPException(429, "too many requests at once; try again soon", {"Retry-After": "1"})
        except HTTPException:
            await drain(request, self._settings.max_body)
            raise
        self._in_progress += 1
        self._metrics.busy.set(self._in_progress)
        try:
            return await self._answered(request, loaded, wanted, top)
        finally:
            self._in_progress -= 1
            self._metrics.busy.set(self._in_progress)

    def close(self) -> None:
        """End the threads that decode."""
        self._decoders.shutdown()

    async def _answered(self, request: Request, loaded: Loaded, tasks: tuple[str, ...], top: int) -> Prediction:
        end = time.monotonic() + self._settings.timeout
        try:
            uploads = await _until(end, read_uploads(request, self._settings), 408, "the body took too long to arrive")
        except HTTPException as error:
            if error.status_code != 408:
                await drain(request, self._settings.max_body)
            raise
        except ClientDisconnect:  # nobody reads it; it is no fault of ours, and the figures say so
            raise HTTPException(400, "the body was cut short") from None
        names = [upload.name for upload in uploads]
        late = "no answer in time; the server is too busy, or the pictures are too large"
        with self._batcher.coming():
            images = await _until(end, self._decoded(uploads, loaded.suite.spec), 504, late)
        try:
            future = self._batcher.submit(Job(images, tasks, top, loaded))
        except RuntimeError:
            raise HTTPException(503, "the server is shutting down", {"Retry-After": "1"}) from None
        found = await _until(end, asyncio.wrap_future(future), 504, late)
        for task in tasks:
            self._metrics.pictures.labels(task).inc(len(names))
        return _prediction(loaded, names, found)

    async def _decoded(self, uploads: list[Upload], spec: InputSpec) -> Tensor:
        """uint8 (n, 3, S, S)."""
        loop = asyncio.get_running_loop()
        most = self._settings.max_pixels
        futures = [loop.run_in_executor(self._decoders, square_of, upload.data, spec, most) for upload in uploads]
        squares = await asyncio.gather(*futures, return_exceptions=True)
        bad = []
        for place, (upload, square) in enumerate(zip(uploads, squares, strict=True), 1):
            if isinstance(square, BadPicture):
                bad.append((square.status, BadUpload(picture=place, name=upload.name, problem=square.problem)))
            elif isinstance(square, BaseException):
                raise square
        if bad:
            raise BadPictures(bad[0][0], [about for _, about in bad])
        return torch.stack([square for square in squares if isinstance(square, Tensor)])


async def _until(end: float, wanted: Awaitable[T], status: int, late: str) -> T:
    try:
        return await asyncio.wait_for(wanted, max(0.0, end - time.monotonic()))
    except asyncio.TimeoutError:
        raise HTTPException(status, late) from None


def _known(tasks: list[str], loaded: Loaded) -> tuple[str, ...]:
    """The tasks asked for, each once."""
    there = f"; there are {', '.join(loaded.tasks)}"
    if not tasks:
        raise HTTPException(422, f"name at least one task: /predict?task=NAME{there}")
    for task in tasks:
        if task not in loaded.classes:
            raise HTTPException(404, f"there is no task {task[:80]!r}{did_you_mean(task[:80], loaded.tasks, there)}")
    return tuple(dict.fromkeys(tasks))


def _prediction(loaded: Loaded, names: list[str], found: Answers) -> Prediction:
    pictures = [
        PictureAnswer(
            name=name,
            tasks={
                task: [Guess(label=label, probability=chance) for label, chance in rows[place]]
                for task, rows in found.items()
            },
        )
        for place, name in enumerate(names)
    ]
    return Prediction(suite=loaded.version, pictures=pictures)
