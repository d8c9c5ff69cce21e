"""A request as it reached the edge -> the request for a provider, or the edge's own answer: the same at every door.

Lambda@Edge's door (edge.py) reads and writes events; a server (local/) has no use for them.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple, TypeVar
from urllib.parse import urlsplit

from chalicelib.edge import admission, resource_metadata
from chalicelib.edge import headers as call_headers
from chalicelib.edge import query as call_query
from chalicelib.edge import refusal as edge_refusal
from chalicelib.edge import token as call_token
from chalicelib.edge.admission import Begun
from chalicelib.edge.call import Admitted, Call
from chalicelib.edge.errors import NoPage, PageMethod
from chalicelib.edge.headers import Headers
from chalicelib.errors import InternalFault, Refusal
from chalicelib.models.body import NOT_SHOWN, CallBody
from chalicelib.providers import paths

if TYPE_CHECKING:
    from chalicelib.edge.known_calls import KnownCall

_Given = TypeVar("_Given")
_Result = TypeVar("_Result")
WELL_KNOWN = "/.well-known/"
"""Below it the edge has pages of its own."""


class Request(NamedTuple):
    """A request as it reached the edge, which verified nothing of it."""

    method: str
    """`WEBSOCKET` where it asks for one."""
    path: str
    """As it was sent: `/<key>/<path>`."""
    query: str
    """Without its `?`."""
    headers: Headers
    source_ip: str
    """The caller's address as the server saw it, no header's."""
    body: CallBody = NOT_SHOWN
    known: KnownCall | None = None
    """What is known of requests that are the same but for the length of their body, where a server remembers that."""

    def __repr__(self) -> str:
        # SECURITY: a token must not reach a log by way of a repr (test_a_request_is_not_printed).
        return f"Request(method={self.method!r})"


class Origin(NamedTuple):
    """What an origin's URL says."""

    host: str
    """Its name, with the port if the URL has one."""
    protocol: str
    domain: str | None
    port: int


class OnItsWay(NamedTuple):
    """The request for a provider. Its method and body are the caller's."""

    origin: Origin
    path: str
    query: str
    headers: Headers
    """All of them, the key's last."""

    def __repr__(self) -> str:
        # SECURITY: the key is in it (test_a_request_is_not_printed).
        return f"OnItsWay(origin={self.origin.host!r})"


class Answer(NamedTuple):
    """An answer of the edge's own."""

    status: int
    headers: dict[str, str]
    body: str


class Ports(NamedTuple):
    """What a door needs.

    clock: epoch seconds. log: takes one line per refusal. admitted: is told a call's request id, and what it was admitted
    with, so that it can be given back if nothing of it is sent, and ended while it runs; on AWS nobody can do either.
    bounded: within it a call is admitted, and ends in time; None where nothing of it waits for a network.
    """

    edge: admission.Edge
    clock: Callable[[], int]
    log: Callable[[str], None]
    admitted: Callable[[str, Admitted], None] = lambda _request_id, _admitted: None
    bounded: Callable[[], AbstractContextManager[None]] | None = None


class EdgeDoor:
    """What every door does with a request. ports: called at the first one, and again after a fault. log: used until then.

    refused: is told a request's id, and why it was refused.
    """

    def __init__(
        self,
        ports: Callable[[], Ports],
        log: Callable[[str], None],
        refused: Callable[[str, Refusal], None] = lambda _request_id, _refusal: None,
    ) -> None:
        self._ports, self._log, self._refused = ports, log, refused
        self._made: Ports | None = None

    def serve(self, request_id: str, read: Callable[[], Request]) -> OnItsWay | Answer:
        """Return what becomes of a request. read: returns it, and may raise a Refusal."""
        return self._answered(_serve, read, request_id)

    def begin(self, request_id: str, request: Request) -> Begun | Answer:
        """Return the answer to a request that needs no state, or one that `finish` goes on with."""
        return self._answered(_begin, request, request_id)

    def finish(self, request_id: str, request: Request, begun: Begun) -> OnItsWay | Answer:
        """Return what becomes of a request that was begun, and counted with others or not."""
        return self._answered(_finish, (request, begun), request_id)

    def _answered(
        self, act: Callable[[_Given, str, Ports], _Result], given: _Given, request_id: str
    ) -> _Result | Answer:
        try:
            ports = self._made
            if ports is None:
                ports = self._made = self._ports()
            if ports.bounded is None:
                return act(given, request_id, ports)
            with ports.bounded():
                return act(given, request_id, ports)
        except Refusal as refusal:
            return self.refuse(refusal, request_id)
        except Exception as fault:  # noqa: BLE001  the last line of defence; the fault's text may hold a token or a key
            return self.refuse(InternalFault(fault), request_id)

    def refuse(self, refusal: Refusal, request_id: str) -> Answer:
        """Return the answer that refuses a request, and log it."""
        # SECURITY: fixed words, and who and what was refused once that is verified; nothing else of the call (test_canary.py).
        line = {"door": "edge", "reason": refusal.reason, "status": refusal.status, "request_id": request_id}
        log, url = (self._log, "") if self._made is None else (self._made.log, self._made.edge.url)
        log(json.dumps({**line, **refusal.log_fields()}))
        self._refused(request_id, refusal)
        headers = edge_refusal.headers(refusal, request_id, url)
        return Answer(refusal.status, headers, edge_refusal.body(refusal, request_id))


def _serve(read: Callable[[], Request], request_id: str, ports: Ports) -> OnItsWay | Answer:
    request = read()
    begun = _begin(request, request_id, ports)
    return _finish((request, begun), request_id, ports) if isinstance(begun, Begun) else begun


def _begin(request: Request, request_id: str, ports: Ports) -> Begun | Answer:
    if request.path.startswith(WELL_KNOWN):
        return _describe(request, ports.edge)
    return admission.begin(_call(request, request_id), ports.edge, ports.clock())


def _finish(given: tuple[Request, Begun], request_id: str, ports: Ports) -> OnItsWay:
    request, begun = given
    admitted = admission.finish(begun, ports.edge)
    ports.admitted(request_id, admitted)
    return _send_on(request, admitted, begun.call.unverified_token)


def _call(request: Request, request_id: str) -> Call:
    method, uri, query, headers, address, body, known = request
    if known is not None and known.call is not None:
        one = known.call
        return Call(one.unverified_token, one.key, method, one.path, address, body, query, request_id, known)
    key, path = paths.split(uri)
    call_headers.check(headers, method)
    call_query.check(query)
    # SECURITY: the address is the server's own finding, no header's (test_edge.py).
    token = call_token.find(headers, query)
    if known is not None:
        # Without `known`, or the two would hold each other, and wait for the garbage collector.
        known.call = Call(token, key, method, path, address, NOT_SHOWN, query)
    return Call(token, key, method, path, address, body, query, request_id, known)


def _describe(request: Request, edge: admission.Edge) -> Answer:
    """Answer the edge's metadata, the one page that the edge has of its own."""
    if request.path != resource_metadata.PATH or not edge.url:
        raise NoPage
    if request.method != "GET":
        raise PageMethod
    headers = {"content-type": "application/json", "cache-control": "public, max-age=300"}
    return Answer(200, headers, json.dumps(resource_metadata.document(edge.url, edge.issuer)))


def _send_on(request: Request, admitted: Admitted, token: str) -> OnItsWay:
    # SECURITY: where the call goes is the key's own, never the request's; what could carry the token or spoof an
    # address is taken off before the key is put on (test_edge_headers.py).
    key, known = admitted.key, request.known
    if known is not None and (found := known.on_its_way(key)) is not None:
        return found
    origin = _origin(key.origin)
    headers = call_headers.forwarded(request.headers, key, origin.host, token)
    on_its_way = OnItsWay(origin, admitted.path, admitted.query, headers)
    if known is not None:
        known.goes_on(key, on_its_way)
    return on_its_way


@functools.lru_cache(maxsize=256)
def _origin(url: str) -> Origin:
    origin = urlsplit(url)
    port = origin.port or (443 if origin.scheme == "https" else 80)
    return Origin(origin.netloc, origin.scheme, origin.hostname, port)
