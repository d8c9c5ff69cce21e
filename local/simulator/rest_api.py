"""One API of the simulated API Gateway: an app, the threads that run it, and how many requests may wait for one."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from chalice.app import Chalice

from chalicelib.errors import Unavailable
from local.simulator.gateway_errors import GatewayError
from local.simulator.lambda_context import LambdaContext
from local.simulator.proxy_integration import (
    GatewayRequest,
    MalformedProxyResponseError,
    ProxyResponse,
    Route,
    Routes,
    make_event,
    parse_response,
)
from local.simulator.sigv4 import Caller, InvalidSignatureError, SignedRequest

Authenticate = Callable[[SignedRequest, int], Caller]
_LOG = logging.getLogger(__name__)


class RestApi:
    """One app behind the gateway.

    name: `public` or `admin`
    routes: of the app
    pool: the threads that invoke it, each with an app object of its own
    slots: one for each running request, and one for each that may wait for a thread
    """

    def __init__(self, name: str, factory: Callable[[], Chalice], workers: int, slots: int) -> None:
        self.name = name
        self.routes = Routes(factory())
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix=f"gateway-{name}")
        self.slots = threading.BoundedSemaphore(slots)
        self._factory = factory
        self._per_thread = threading.local()

    def invoke(
        self, request: GatewayRequest, route: Route, authenticate: Authenticate, deadline: float
    ) -> ProxyResponse:
        """Invoke the app in a worker thread. Raises GatewayError: 403 invalid signature, 502, 503."""
        context = LambdaContext(str(uuid.uuid4()), deadline, f"keybroker-{self.name}")
        try:
            caller = None
            # SECURITY: a route that asks for IAM never runs unverified (test_an_unsigned_request_is_refused).
            if route.requires_iam[request.signed.method]:
                caller = authenticate(request.signed, int(request.received_at))
            event = make_event(request, route, caller, self.routes.binary_types)
            return parse_response(self._app()(event, context))
        except InvalidSignatureError as error:
            raise GatewayError(403, str(error)) from None
        except Unavailable as fault:  # by `authenticate`: the app makes a response of its own
            _LOG.error("callers cannot be verified: %s: %s; request %s", fault.reason, fault.hint, request.request_id)
            when = {"Retry-After": "1"} if fault.retryable else {"x-should-retry": "false"}
            raise GatewayError(503, "the broker cannot verify who calls; its log says why", when) from None
        except MalformedProxyResponseError as error:
            _LOG.error("malformed Lambda proxy response: %s; request %s", error, request.request_id)
        except BaseException:  # noqa: BLE001  SystemExit too: as on Lambda, it ends the invocation, not the server
            _LOG.exception("the app raised an exception; request %s", request.request_id)
        # SECURITY: never the exception's text (test_an_exception_is_a_502_without_its_text).
        raise GatewayError(502, "the broker returned no valid response")

    def has_slot(self) -> bool:
        """Return whether a request could get a slot now; it takes none, since a slow sender would keep it."""
        if not self.slots.acquire(blocking=False):
            return False
        self.slots.release()
        return True

    def _app(self) -> Chalice:
        if not hasattr(self._per_thread, "app"):
            self._per_thread.app = self._factory()
        app: Chalice = self._per_thread.app
        return app
