"""The administrators' views of federation: what a provider has to be told, and one credential on trial."""

from __future__ import annotations

from typing import Any

from chalicelib.admin import federation_setup, key_request, query
from chalicelib.admin.ports import AdminPorts
from chalicelib.errors import MalformedRequest, Refusal
from chalicelib.federation import assertion, problems
from chalicelib.federation.minter import relevant, renewal
from chalicelib.federation.notes import Asked, MintNote, Trial
from chalicelib.http.messages import Request, Response
from chalicelib.providers.errors import KeyNotFederated, MintAway, MintDenied, MintUnready
from chalicelib.providers.federated import AWS_STS, FEDERATED
from chalicelib.providers.versions import KeyInfo


def shown(info: KeyInfo, note: MintNote | None) -> dict[str, Any]:
    """Return what is said of how a key is held. Nothing of it opens anything."""
    federated, current, noted = info.federated, info.current, relevant(note, info)
    is_minted = current is not None and bool(current.minted_for)
    return {
        "held": "static" if federated is None else "federated",
        "federated": None if federated is None else dict(federated),
        "renews": renewal(current) if current is not None and is_minted else None,
        "mint_failure": None if noted is None or federated is None else _failure(noted),
    }


def _failure(note: MintNote) -> dict[str, Any]:
    noted = {name: value for name, value in note.to_json().items() if name != "minted_for"}
    return {**noted, "text": problems.words(note.problem, denied=note.denied)}


def _refusal(trial: Trial) -> Refusal:
    known = f", the provider's request {trial.request_id}" if trial.request_id else ""
    why = f"{problems.words(trial.problem, denied=trial.denied)}{known}"
    if problems.lacks(trial.problem, denied=trial.denied):
        return MintUnready(why)
    return MintDenied(why) if trial.denied else MintAway(why)


def get_setup(request: Request, ports: AdminPorts) -> Response:
    """Answer what to enter at a provider so that it trusts this installation, for one key."""
    request.administrator()
    params = query.read(request, "provider", "key", "identity")
    provider, key, identity = (params.text(name) or "" for name in ("provider", "key", "identity"))
    if provider not in FEDERATED:
        raise MalformedRequest(f"provider must be one of {', '.join(FEDERATED)}")
    if not key_request.is_name(key):
        raise MalformedRequest("key must be a name as in a policy: 1 to 64 letters, digits, `-` and `_`")
    identity = identity or ports.rules.identity
    kind = FEDERATED[provider]
    if fault := kind.fault("identity", identity) if kind.algorithms else None:
        raise MalformedRequest(f"identity must be {fault}")
    url = ports.broker_url
    about = {
        "provider": provider,
        "key": key,
        "identity": identity if kind.algorithms else None,
        "issuer": assertion.issuer_of(url) if kind.algorithms else None,
        "subject": assertion.subject_of(url, key) if kind.algorithms else None,
        "jwks": {"keys": list(ports.federation_jwks())},
    }
    found = federation_setup.of(provider, key, identity, url, ports.federation_jwks())
    if ports.rules.identity == AWS_STS:
        found["steps"].append(federation_setup.former_value(f"{ports.installation}/{key}"))
    return Response({**about, **found})


def try_mint(request: Request, ports: AdminPorts, name: str) -> Response:
    """Mint a credential of a key, say when it would end, and keep nothing of it. Who mints leaves an event of it."""
    administrator = request.administrator()
    query.read(request)
    info = key_request.find(ports.keys, name)
    if info.federated is None:
        raise KeyNotFederated
    trial = ports.try_mint(info, Asked(administrator, request.request_id))
    if trial.problem:
        raise _refusal(trial)
    life = trial.expires - ports.clock()
    return Response(
        {
            "name": name,
            "provider": info.provider,
            "expires": trial.expires,
            "life": life,
            "request": trial.request_id or None,
        }
    )
