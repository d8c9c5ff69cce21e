"""The context object that Lambda passes to a handler beside the event."""

from __future__ import annotations

import time
from dataclasses import dataclass

REGION = "us-east-1"
ACCOUNT = "000000000000"


@dataclass(frozen=True, slots=True)
class LambdaContext:
    """Lambda's own names.

    aws_request_id: the ID that the simulated service gave to the request
    deadline: when the invocation times out, in seconds of the monotonic clock
    function_name: as in the ARN
    function_version: `$LATEST`, or the number of a published version
    memory_limit_in_mb: as configured for the real function
    log_group_name, log_stream_name: not written to
    identity, client_context: for mobile apps; always None
    """

    aws_request_id: str
    deadline: float
    function_name: str
    function_version: str = "$LATEST"
    memory_limit_in_mb: int = 512
    log_group_name: str = ""
    log_stream_name: str = ""
    identity: None = None
    client_context: None = None

    @property
    def invoked_function_arn(self) -> str:
        """The function's ARN, in an account that does not exist: nothing may be decided by it."""
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation times out."""
        return max(0, int((self.deadline - time.monotonic()) * 1000))
