"""The log of an edge that is CloudFront's function: a line is in the region that ran it, whichever that was.

Read with the caller's own AWS credentials, which need `logs:FilterLogEvents` on the group in each region.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

from keybroker.cli import output
from keybroker.cli.command_error import LOCAL, CommandError

_ID: Final = re.compile(r"[A-Za-z0-9_=.~-]{1,128}")
_PAGES: Final = 50
"""Of one region's log, at most."""
_SECONDS: Final = 20.0
"""For which a region's log is read, at most."""
_AT_ONCE: Final = 8
_MEMBERS: Final = ("reason", "status", "key", "grant", "principal", "jti", "cause")


class Looked(NamedTuple):
    """call: the refused call, None if there is none. regions: where a log was read to its end. unread: why not elsewhere."""

    call: Mapping[str, Any] | None
    regions: tuple[str, ...]
    unread: Mapping[str, str]


def find(group: str, request_id: str, since: int, until: int) -> Looked:
    """Look for the line of a request between two times, epoch seconds. Raises CommandError without botocore or credentials."""
    if not _ID.fullmatch(request_id):
        return Looked(None, (), {})
    try:
        from botocore.session import Session  # noqa: PLC0415  an extra, and an eighth of a second to import
    except ImportError:
        raise CommandError(LOCAL, "reading the edge's log needs botocore: pip install 'botocore>=1.44,<2'") from None
    session = Session()
    if session.get_credentials() is None:
        raise CommandError(LOCAL, "no AWS credentials found, with which to read the edge's log")
    regions = _regions(session)
    clients = {one: _client(session, one) for one in regions}  # a session makes one client at a time
    with output.waiting(f"reading {group} in {len(regions)} regions"), ThreadPoolExecutor(_AT_ONCE) as threads:
        reading = {
            one: threads.submit(_read, clients[one], group, request_id, (since, until), time.monotonic() + _SECONDS)
            for one in regions
        }
        found = {one: read.result() for one, read in reading.items()}
    call = next((read for read in found.values() if isinstance(read, dict)), None)
    unread = {one: read for one, read in found.items() if isinstance(read, str) and read}
    return Looked(call, tuple(one for one, read in found.items() if read is None or isinstance(read, dict)), unread)


def _regions(session: Any) -> list[str]:  # noqa: ANN401  botocore's clients have no type here
    found: list[str] = session.get_available_regions("logs")
    return found


def _client(session: Any, region: str) -> Any:  # noqa: ANN401  as above
    from botocore.config import Config  # noqa: PLC0415  as above

    config = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 2})
    return session.create_client("logs", region, config=config)


def _read(client: Any, group: str, request_id: str, span: tuple[int, int], ends: float) -> dict[str, Any] | str | None:  # noqa: ANN401  as above
    """Return the call; None if there is none; why the log was not read, "" if there is no such log."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  as above

    asked = {
        "logGroupName": group,
        "filterPattern": f'"{request_id}"',
        "startTime": span[0] * 1000,
        "endTime": span[1] * 1000,
    }
    try:
        for _ in range(_PAGES):
            page = client.filter_log_events(**asked)
            for event in page["events"]:
                call = _call(event, request_id)
                if call is not None:
                    return call
            if "nextToken" not in page:
                return None
            if time.monotonic() > ends:
                break
            asked["nextToken"] = page["nextToken"]
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        return "" if code == "ResourceNotFoundException" else code
    except BotoCoreError as error:
        return type(error).__name__
    return "too long to be read whole; narrow it by --since and --until"


def _call(event: Mapping[str, Any], request_id: str) -> dict[str, Any] | None:
    try:
        line = json.loads(event["message"])
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or (line.get("door"), line.get("request_id")) != ("edge", request_id):
        return None
    about = {name: line.get(name, "") for name in _MEMBERS}
    return {"at": event["timestamp"] // 1000, "request_id": request_id, **about, "under_way": False}
