"""Round trips with botocore, each request on a thread of its own: `round_trip.AwsClient`."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import botocore.exceptions

from chalicelib.aws.errors import error_code
from chalicelib.aws.round_trip import CONNECTIONS, RequestFailed, Steps
from chalicelib.aws.threads import RequestThreads

# Threads survive the freezing of a Lambda; each request that they make is bounded by itself.
THREADS = RequestThreads(CONNECTIONS)
_T = TypeVar("_T")


class BotocoreClient:
    """`round_trip.AwsClient` over a client of botocore, whose service has all the operations that are asked for."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401  of any service
        self._client = client

    def run(self, calls: Sequence[Steps[Any]], seconds: float, undo: Mapping[int, Steps[Any]]) -> Sequence[Any]:
        """See `AwsClient.run`. Calls that have not begun by then are dropped."""
        begun = [functools.partial(made, self._client, one) for one in calls]
        undone = {index: functools.partial(made, self._client, one) for index, one in undo.items()}
        return THREADS.answers(begun, time.monotonic() + seconds, undone)


def made(client: Any, steps: Steps[_T]) -> _T:  # noqa: ANN401  of any service
    """Make a call's requests one after another; return what comes of it, raise what it raises."""
    try:
        request = next(steps)
        while True:
            try:
                answer = getattr(client, _method(request.operation))(**request.parameters)
            except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
                failed = RequestFailed(error_code(error), getattr(error, "response", None))
                failed.__cause__ = error
                request = steps.throw(failed)
            else:
                request = steps.send(answer)
    except StopIteration as done:
        value: _T = done.value
        return value


@functools.cache
def _method(operation: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
