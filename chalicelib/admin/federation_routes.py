"""The administrators' routes of federation."""

from __future__ import annotations

from chalicelib.admin import federation
from chalicelib.admin.ports import AdminPorts
from chalicelib.http.route import TEXT, Parameter, Route
from chalicelib.providers.federated import FEDERATED, SIGNED_BY

ROUTES: tuple[Route[AdminPorts], ...] = (
    Route(
        "GET",
        "/admin/federation",
        "What to enter at a provider so that it gives this installation credentials for a key",
        {200: "FederationSetup"},
        federation.get_setup,
        (
            Parameter("provider", "the provider", {"enum": list(FEDERATED)}, required=True),
            Parameter("key", "the key's name, which need not be in the policy yet", TEXT, required=True),
            Parameter(
                "identity", "who vouches for this installation; by default as in a policy", {"enum": list(SIGNED_BY)}
            ),
        ),
    ),
    Route(
        "POST",
        "/admin/keys/{name}/mint",
        "Mint one credential of a federated key, say when it would end, and keep nothing of it",
        {200: "MintTried"},
        federation.try_mint,
        (Parameter("name", "the name of a key of the policy", location="path", required=True),),
        refusals=(404, 409, 422),
    ),
)
