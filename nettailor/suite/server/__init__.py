"""A suite over HTTP: pictures in, classes with probabilities out.

    request -> guard -> body -> pictures (threads) -> batcher (one thread, the only one that runs networks) -> answer
               token     size    size, decoding        requests of one moment, task by task
                                      suite on disk -> watched, loaded beside, exchanged

`app.make_app` is the application, `run.serve` the process around it: socket, signals, log.
"""

from __future__ import annotations

from nettailor.errors import UsageError

try:
    import fastapi  # noqa: F401
    import prometheus_client  # noqa: F401
    import python_multipart  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise UsageError(f"suite serve: {error.name} is not installed; pip install 'nettailor[serve]'") from error
