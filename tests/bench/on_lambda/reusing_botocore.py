"""The same edge over botocore, using connections however long they were idle, as it did at first. Runs beside both."""

import over_botocore  # type: ignore[import-not-found]  # beside it, on Lambda

from chalicelib.aws import idle

idle.is_too_long = lambda *_: False
handler = over_botocore.handler
