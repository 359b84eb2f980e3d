"""The body of a request, held to its size while it is read: one picture as it is, or several as a form.

image/png, application/octet-stream -> [Upload("picture", ...)]       multipart/form-data -> an Upload for each file
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from nettailor.suite.server.settings import MEBIBYTE, ServeSettings

RAW = ("image/", "application/octet-stream")
MOST_FIELDS = 32  # parts of a form that are no files; they are left unread
DRAIN_SECONDS = 2.0


@dataclass
class Upload:
    """One picture as it came, and what to call it."""

    name: str
    data: bytes


async def read_uploads(request: Request, settings: ServeSettings) -> list[Upload]:
    """The pictures of a request.

    Raises:
        HTTPException: 413 too large, or too many pictures; 415 another type; 400 a broken form; 422 no picture.
    """
    kind = request.headers.get("content-type", "application/octet-stream").lower()
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > settings.max_body:
        raise _too_large(settings)
    if kind.startswith(RAW):
        data = b"".join([part async for part in _bounded(request, settings)])
        uploads = [Upload("picture", data)] if data else []
    elif kind.startswith("multipart/form-data"):
        uploads = await _form(request, settings)
    else:
        raise HTTPException(415, "send pictures as multipart/form-data, or one picture as image/*")
    if not uploads:
        raise HTTPException(422, "there is no picture in the request")
    return uploads


async def drain(request: Request, most: int) -> None:
    """Read and drop what a refused client still sends, so that it gets to read the answer; not for long."""
    if "expect" in request.headers:
        return  # it waits for our leave to send, and sees the answer instead

    async def read() -> None:
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > most:
                return

    with suppress(asyncio.TimeoutError, ClientDisconnect, RuntimeError):  # the last: it has been read to its end
        await asyncio.wait_for(read(), DRAIN_SECONDS)


async def _form(request: Request, settings: ServeSettings) -> list[Upload]:
    parser = MultiPartParser(
        request.headers, _bounded(request, settings), max_files=settings.max_pictures, max_fields=MOST_FIELDS
    )
    parser.spool_max_size = settings.max_body  # in memory: the whole body is bounded, and nothing goes to the disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        status = 413 if error.message.startswith("Too many files") else 400
        raise HTTPException(status, f"the form can't be read: {error.message}") from None
    try:
        files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        return [Upload(file.filename or f"picture {n}", await file.read()) for n, file in enumerate(files, 1)]
    finally:
        await form.close()


async def _bounded(request: Request, settings: ServeSettings) -> AsyncGenerator[bytes, None]:
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > settings.max_body:
            raise _too_large(settings)
        yield part


def _too_large(settings: ServeSettings) -> HTTPException:
    return HTTPException(413, f"the body has more than {settings.max_body / MEBIBYTE:g} MiB")
