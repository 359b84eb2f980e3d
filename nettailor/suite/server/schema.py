"""The JSON that clients get, and what the OpenAPI page says of it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Guess(BaseModel):
    """One class of a task."""

    label: str
    probability: float = Field(ge=0, le=1)


class PictureAnswer(BaseModel):
    """What was asked of one picture."""

    name: str = Field(description="the file's name in the form; 'picture' for a picture sent as it is")
    tasks: dict[str, list[Guess]] = Field(description="by task, the most probable classes first")


class Prediction(BaseModel):
    """Answers, in the order of the pictures."""

    suite: str = Field(description="the state of the suite that answered")
    pictures: list[PictureAnswer]


class TaskInfo(BaseModel):
    """A task of the suite."""

    name: str
    classes: list[str]


class TaskList(BaseModel):
    """What can be asked, and of which pictures."""

    suite: str
    tasks: list[TaskInfo]
    input_size: int = Field(description="pixels of the square that pictures are resized to")
    max_pictures: int


class BadUpload(BaseModel):
    """A picture that can't be answered."""

    picture: int = Field(description="its place in the request, from 1")
    name: str
    problem: str


class Refusal(BaseModel):
    """Why there is no answer."""

    detail: str
    pictures: list[BadUpload] | None = Field(None, description="where pictures are at fault: which, and why")


class Health(BaseModel):
    """Whether requests are answered."""

    status: str = Field(description="ok; stale: the suite on disk is broken and the one before it answers; down")
    suite: str
    since: str
    tasks: int
    problem: str | None = Field(None, description="what is wrong with the suite on disk")


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": about}
    for status, about in {
        400: "a form that can't be read, or a body that was cut short",
        401: "no token, or another one",
        404: "a task that the suite does not have",
        408: "the body took too long",
        413: "too large a body, too many pictures, or a picture of too many pixels",
        415: "a content type or a picture format that is not read",
        422: "no task named, no picture, or a damaged one",
        429: "too many requests at once; Retry-After says when to come again",
        500: "a fault of the server's",
        503: "the server is shutting down",
        504: "no answer in time",
    }.items()
}

PICTURES = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["picture"],
                    "properties": {"picture": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
