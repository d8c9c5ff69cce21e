"""Every page, by method and path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from keybroker.console import audit, grants, keys, now, policy, principals, proof, revocations
from keybroker.console.console import Console
from keybroker.console.guard import BODY_LIMIT
from keybroker.console.principals import Listing
from keybroker.console.server import Page, Request

View: TypeAlias = Callable[[Console, Request], Page]
TITLES = {
    "ended": "This console has ended",
    "closed": "Open this console from your terminal",
    "elsewhere": "This address was opened from another page",
    "entered": "Keybroker",
    "forged": "This form is not from this console",
    "large": "This is too large for the console",
    "failed": "Something went wrong here",
}


def routes(listing: Listing) -> Mapping[tuple[str, str], View]:
    """Return what makes each page."""

    def all_principals(console: Console, request: Request) -> Page:
        return principals.show_all(console, listing, request)

    return {
        ("GET", "/"): now.show,
        ("GET", "/principals"): all_principals,
        ("GET", "/spark"): principals.spark,
        ("GET", "/principal"): principals.show_one,
        ("GET", "/proof"): proof.show,
        ("GET", "/revoke"): revocations.ask,
        ("POST", "/revoke"): revocations.make,
        ("POST", "/restore"): revocations.restore,
        ("GET", "/grants"): grants.show,
        ("POST", "/grants"): grants.show,
        ("GET", "/keys"): keys.show,
        ("GET", "/keys/action"): keys.ask,
        ("POST", "/keys/action"): keys.act,
        ("GET", "/keys/done"): keys.done,
        ("GET", "/audit"): audit.show,
        ("GET", "/audit/export"): audit.export,
        ("GET", "/policy"): policy.show,
        ("POST", "/policy"): policy.show,
    }


def answering(console: Console) -> Callable[[Request], Page]:
    """Return what answers every request that was let in."""
    known = routes(Listing(console.api))

    def answer(request: Request) -> Page:
        method = "GET" if request.method == "HEAD" else request.method
        view = known.get((method, request.path))
        if view is None:
            return console.page("not_found.html", "Not found", status=404)
        return view(console, request)

    return answer


def bare(console: Console, name: str, status: int) -> Page:
    """Return a page for a request that was not let in: it says why, and nothing else."""
    return console.page("bare.html", TITLES[name], status=status, name=name, limit=BODY_LIMIT // 1024)
