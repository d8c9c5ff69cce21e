"""Where the audit is exported to on AWS: a bucket, or a delivery stream. Each raises Unavailable unless all was taken."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import botocore.exceptions

from chalicelib.aws.errors import error_code
from chalicelib.errors import StateUnavailable

RECORDS, RECORDS_BYTES = 500, 3 * 1024 * 1024
"""Records and bytes in one request to Firehose; its limits are 500 and 4 MiB."""
TRIES = 5
"""Requests for the records that Firehose did not take, the first one included."""


class Destination(Protocol):
    """Takes the lines of a range of events."""

    def write(self, name: str, lines: Sequence[str]) -> None:
        """Write lines. name: of the range; the same range has the same lines. Raises Unavailable."""


class Bucket:
    """An object for each range. client: of S3."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:  # noqa: ANN401  as botocore makes them
        self._client, self._bucket, self._prefix = client, bucket, prefix

    def write(self, name: str, lines: Sequence[str]) -> None:
        """See `Destination.write`. An object that is there is left as it is."""
        body = gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)
        try:
            # SECURITY: what was exported cannot be exported again as something else (test_an_object_is_never_written_over).
            self._client.put_object(
                Bucket=self._bucket,
                Key=f"{self._prefix}{name}.jsonl.gz",
                Body=body,
                ContentType="application/jsonl",
                ContentEncoding="gzip",
                IfNoneMatch="*",
            )
        except botocore.exceptions.ClientError as error:
            if (
                error_code(error) != "PreconditionFailed"
            ):  # which is one that a run wrote that was ended before its cursor
                raise StateUnavailable(aws_code=error_code(error)) from error
        except botocore.exceptions.BotoCoreError as error:
            raise StateUnavailable(hint=str(error)) from error


class Stream:
    """A record for each event. client: of Firehose."""

    def __init__(self, client: Any, name: str, sleep: Callable[[float], object] = time.sleep) -> None:  # noqa: ANN401  as above
        self._client, self._name, self._sleep = client, name, sleep

    def write(self, name: str, lines: Sequence[str]) -> None:  # noqa: ARG002  a record has no name
        """See `Destination.write`. What Firehose does not take is sent again, and no other record."""
        left = [f"{line}\n".encode() for line in lines]
        while left:
            count, size = 0, 0
            while count < min(len(left), RECORDS) and (size := size + len(left[count])) <= RECORDS_BYTES:
                count += 1
            self._send(left[: count or 1])
            left = left[count or 1 :]

    def _send(self, records: list[bytes]) -> None:
        for number in range(TRIES):
            if number:
                self._sleep(0.2 * 2**number)
            try:
                answer = self._client.put_record_batch(
                    DeliveryStreamName=self._name, Records=[{"Data": one} for one in records]
                )
            except botocore.exceptions.ClientError as error:
                raise StateUnavailable(aws_code=error_code(error)) from error
            except botocore.exceptions.BotoCoreError as error:
                raise StateUnavailable(hint=str(error)) from error
            results = answer["RequestResponses"]
            records = [one for one, result in zip(records, results, strict=True) if result.get("ErrorCode")]
            if not records:
                return
        raise StateUnavailable(hint=f"Firehose did not take {len(records)} records")
