"""The one behaviour of the distribution that has no function: Anthropic's token exchange, which goes to the broker."""

from typing import Any, Final

from yarl import URL

from local.simulator.function_result import OriginRequest, header_list
from local.simulator.origin import MAX_READ_TIMEOUT

TOKEN_PATH: Final = "/anthropic/v1/oauth/token"  # noqa: S105 - a path, not a token


class BrokerBehaviour:
    """Sends requests for `TOKEN_PATH` to the broker. It is not a function's choice, so it may be an address."""

    def __init__(self, broker: str) -> None:
        """broker: its base URL. Raises ValueError if that is not http(s) with a host, or says more than a path."""
        url = URL(broker)
        if url.scheme not in {"http", "https"} or not url.raw_host or ":" in url.raw_host or url.raw_query_string:
            raise ValueError("the broker's URL must be http or https, with a host name and no query")
        self._address = f"{url.origin()}{url.raw_path.rstrip('/')}"
        self._host = url.host_port_subcomponent or ""

    def order(self, asked: dict[str, Any]) -> OriginRequest | None:
        """Return where a request of an event goes, or None if it is not for here."""
        if asked["uri"] != TOKEN_PATH:
            return None
        headers = header_list({**asked["headers"], "host": [{"key": "Host", "value": self._host}]}, "headers")
        query = f"?{asked['querystring']}" if asked["querystring"] else ""
        return OriginRequest(URL(f"{self._address}{TOKEN_PATH}{query}", encoded=True), headers, float(MAX_READ_TIMEOUT))
