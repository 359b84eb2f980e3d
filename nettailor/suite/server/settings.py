"""What a server may be told: where it listens, whom it answers, and how much it takes at once."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from nettailor.errors import UsageError
from nettailor.schema import STRICT, Count, NotNegative, Positive, first_error

MEBIBYTE = 2**20


@dataclass(config=STRICT, frozen=True)
class ServeSettings:
    """Every limit holds for one request, but for `queue`, which bounds all that are being answered together."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    token: Annotated[str, Field(min_length=1)] | None = None
    mode: Literal["resident", "fast"] = "resident"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")] = "cpu"
    backbone: str | None = None
    """Its name, where it means importing code, which a file may not ask for."""
    max_batch: Count = 16
    """Pictures that go through a network together."""
    max_wait_ms: NotNegative = 5.0
    """How long a picture waits for others that are being decoded; it never waits where there are none."""
    max_body_mb: Positive = 16.0
    max_megapixels: Positive = 40.0
    """Of one picture, as it is and as it is resized: a very long and narrow one grows by that."""
    max_pictures: Count = 32
    queue: Count = 64
    """Requests that are read, decoded, waiting or computed; the next one gets 429."""
    timeout: Positive = 10.0
    """Seconds from a request's head to its answer."""
    poll: Positive = 1.0
    """Seconds between two looks at the suite on disk."""

    @property
    def max_body(self) -> int:
        """Bytes."""
        return int(self.max_body_mb * MEBIBYTE)

    @property
    def max_pixels(self) -> int:
        """Pixels of one picture."""
        return int(self.max_megapixels * 1e6)

    @property
    def is_loopback(self) -> bool:
        """Only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def settings_of(**given: Any) -> ServeSettings:
    """Settings from options.

    Raises:
        UsageError: a value is out of bounds; the message names the option.
    """
    try:
        return ServeSettings(**given)
    except ValidationError as error:
        option, message = first_error(error).split(": ", 1)
        raise UsageError(f"suite serve: --{option.split('.')[0].replace('_', '-')}: {message}") from None
