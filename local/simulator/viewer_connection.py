"""A viewer's connection to the simulated CloudFront, and its answers to what is no HTTP."""

import logging
import secrets
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from local.simulator.connections import Connection
from local.simulator.viewer_response import error_response

_LOG: Final = logging.getLogger("local.simulator.cloudfront")


class ViewerConnection(Connection):
    """A connection, with CloudFront's error responses in place of its own, which quote headers."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return 413 for a request that is too large, 400 for one that cannot be parsed, 502 for an error in this module."""
        if request.writer.output_size > 0:
            raise ConnectionError  # part of a response was sent, so the connection must break
        too_large = isinstance(exc, LineTooLong) or (message or "").startswith("Too many headers")
        name = "function" if status >= 500 else "too_large" if too_large else "malformed"
        request_id = secrets.token_hex(16)
        # SECURITY: the exception's text holds the malformed header (test_malformed_request_is_not_quoted).
        _LOG.warning("request %s: %s (%s)", request_id, name, type(exc).__name__)
        response = error_response(name, request_id)
        response.force_close()
        return response
