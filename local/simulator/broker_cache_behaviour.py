"""The distribution's cache behaviour for Anthropic's token exchange: no function, and the broker as its origin."""

from typing import Final

from yarl import URL

from chalicelib.edge.door import Request
from local.simulator.function_result import OriginRequest, header_list
from local.simulator.origin import MAX_READ_TIMEOUT

TOKEN_PATH: Final = "/anthropic/v1/oauth/token"  # noqa: S105 - a path, not a token


class BrokerCacheBehaviour:
    """Sends requests for `TOKEN_PATH` to the broker, whose host may be an IP address: no function chooses it."""

    def __init__(self, broker: str) -> None:
        """broker: its base URL. Raises ValueError unless that is http(s) with a host name, and a path at most."""
        url = URL(broker)
        if url.scheme not in {"http", "https"} or not url.raw_host or ":" in url.raw_host or url.raw_query_string:
            raise ValueError("the broker's URL must be http or https, with a host name and no query")
        self._address, self._target = str(url.origin()), url.raw_path.rstrip("/") + TOKEN_PATH
        self._host = url.host_port_subcomponent or ""

    def origin_request(self, request: Request) -> OriginRequest | None:
        """Return the request for the broker, or None for any other path."""
        if request.path != TOKEN_PATH:
            return None
        host = [{"key": "Host", "value": self._host}]
        headers = header_list({**request.headers.to_event(), "host": host}, "headers")
        query = f"?{request.query}" if request.query else ""
        return OriginRequest(self._address, self._target + query, headers, float(MAX_READ_TIMEOUT), to_broker=True)
