"""AWS STS's GetWebIdentityToken, with which AWS itself is the issuer of an assertion, as strict as the real one.

Source: botocore 1.44's model of STS, with whose client it is checked. It reads the credential that signed a request, and
does not verify the signature.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.sax.saxutils import escape

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from local.practice.federation.endpoint import Fault, RefusedError, TokenEndpoint, life, read_form, text

PATH = "/"
ACCESS_KEY_ID = "AKIAPRACTICE00000000"
_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
_MAX_BODY = 64 * 1024  # bytes
_MAX_JWT = 16 * 1024  # bytes
_SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=(\w+)/\d{8}/[a-z0-9-]+/sts/aws4_request, ?SignedHeaders=")
_MEMBER = re.compile(r"(Audience)\.member\.(\d+)|(Tags)\.member\.(\d+)\.(Key|Value)")
_KNOWN = {"Action", "Version", "DurationSeconds", "SigningAlgorithm"}

Keys = Mapping[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey]


@dataclass(slots=True)
class Role:
    """Who calls. session_left: seconds until its session ends; None for one that does not."""

    arn: str = "arn:aws:iam::123456789012:role/keybroker-minter"
    session_left: int | None = None
    is_federation_enabled: bool = True
    may_tag: bool = True


class StsEndpoint(TokenEndpoint):
    """The endpoint of an account, with the account's issuer."""

    def __init__(self, role: Role, clock: Callable[[], float] = time.time) -> None:
        super().__init__(None, clock)
        self.role = role
        self.url = f"https://{uuid.uuid4()}.tokens.sts.global.api.aws"
        self.keys = new_keys()

    def jwks(self) -> dict[str, object]:
        """Return what the issuer publishes."""
        keys = []
        for algorithm, key in self.keys.items():
            if isinstance(key, rsa.RSAPrivateKey):
                one = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
            else:
                one = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
            members = {name: value for name, value in one.items() if name != "key_ops"}
            keys.append({**members, "kid": f"{algorithm}-1", "alg": algorithm, "use": "sig"})
        return {"keys": keys}

    async def mint(self, request: web.Request, fault: Fault) -> web.Response:
        """Return a JWT of the calling role."""
        signed = _SIGNED.match(request.headers.get("Authorization", ""))
        if signed is None or signed[1] != ACCESS_KEY_ID:
            raise RefusedError(
                "credential", "The security token included in the request is invalid.", 403, code="InvalidClientTokenId"
            )
        body = await read_form(request, _MAX_BODY)
        if (text(body, "Action"), text(body, "Version")) != ("GetWebIdentityToken", "2011-06-15"):
            raise RefusedError("action", "Could not find operation.", code="InvalidAction")
        audiences, tags = _members(body)
        algorithm = text(body, "SigningAlgorithm")
        duration = body.get("DurationSeconds", "300")
        if algorithm not in self.keys or not duration.isdecimal() or not 60 <= int(duration) <= 3600:
            raise RefusedError("parameter", "1 validation error detected.", code="ValidationError")
        self._check_role(int(duration), tags)
        now, seconds = int(self.clock()), life(fault, int(duration))
        claims = self._claims(audiences, tags, fault.account or self.role.arn)
        token = jwt.encode(
            {**claims, "iat": now, "exp": now + seconds, "jti": str(uuid.uuid4())},
            self.keys[algorithm],
            algorithm=algorithm,
            headers={"kid": f"{algorithm}-1"},
        )
        if len(token) > _MAX_JWT:
            raise RefusedError("size", "The token is too large.", code="JWTPayloadSizeExceededException")
        self.minted.mint(token, self.role.arn, now + seconds)
        expires = datetime.fromtimestamp(now + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        result = f"<WebIdentityToken>{token}</WebIdentityToken><Expiration>{expires}</Expiration>"
        return _xml(
            200, "GetWebIdentityTokenResponse", f"<GetWebIdentityTokenResult>{result}</GetWebIdentityTokenResult>"
        )

    def denied(self, reason: str) -> web.Response:
        """Return the error for a role that may not call this."""
        message = f"{self.role.arn} is not authorized to perform: sts:GetWebIdentityToken ({reason})"
        return self.refused(RefusedError(reason, message, 403, code="AccessDenied"))

    def refused(self, error: RefusedError) -> web.Response:
        """Return an error of the query protocol."""
        plain = {403: "AccessDenied", 429: "Throttling"}
        code = error.fields.get("code") or plain.get(
            error.status, "ValidationError" if error.status < 500 else "ServiceUnavailable"
        )
        side = "Sender" if error.status < 500 else "Receiver"
        inner = f"<Error><Type>{side}</Type><Code>{code}</Code><Message>{escape(error.text)}</Message></Error>"
        return _xml(error.status, "ErrorResponse", inner)

    def _check_role(self, duration: int, tags: Mapping[str, str]) -> None:
        if not self.role.is_federation_enabled:
            code = "OutboundWebIdentityFederationDisabledException"
            raise RefusedError("disabled", "Outbound web identity federation is disabled.", 403, code=code)
        if self.role.session_left is not None and duration > self.role.session_left:
            code = "SessionDurationEscalationException"
            raise RefusedError("escalation", "The token would outlive the session.", 403, code=code)
        if tags and not self.role.may_tag:
            message = "not authorized to perform: sts:TagGetWebIdentityToken"
            raise RefusedError("tags", message, 403, code="AccessDenied")

    def _claims(self, audiences: list[str], tags: Mapping[str, str], arn: str) -> dict[str, object]:
        own: dict[str, object] = {"aws_account": arn.split(":")[4], "principal_id": arn}
        if tags:
            own["request_tags"] = dict(tags)
        audience = audiences[0] if len(audiences) == 1 else audiences
        return {"iss": self.url, "sub": arn, "aud": audience, "https://sts.amazonaws.com/": own}


def new_keys() -> Keys:
    """Make the keys of an account's issuer, by their algorithm."""
    return {
        "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ES384": ec.generate_private_key(ec.SECP384R1()),
    }


def add_routes(app: web.Application, endpoint: StsEndpoint) -> None:
    """Add the endpoint's route to a practice provider's; every action of the protocol has this one path."""
    app.router.add_post(PATH, endpoint.handle)


def _members(body: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the audiences and the tags; raises RefusedError."""
    found: dict[tuple[str, int, str], str] = {}
    for name, value in body.items():
        if name in _KNOWN:
            continue
        parts = _MEMBER.fullmatch(name)
        if parts is None:
            raise RefusedError("parameter", f"Unknown parameter {name}.", code="ValidationError")
        found[parts[1] or parts[3], int(parts[2] or parts[4]), parts[5] or ""] = value
    audiences = [value for (kind, _, _), value in sorted(found.items()) if kind == "Audience"]
    if not 1 <= len(audiences) <= 10 or not all(1 <= len(one) <= 1000 for one in audiences):
        raise RefusedError("audience", "1 validation error detected.", code="ValidationError")
    numbers = sorted({place for kind, place, _ in found if kind == "Tags"})
    tags = {found.get(("Tags", one, "Key"), ""): found.get(("Tags", one, "Value"), "") for one in numbers}
    if "" in tags:
        raise RefusedError("tags", "1 validation error detected.", code="ValidationError")
    return audiences, tags


def _xml(status: int, name: str, inner: str) -> web.Response:
    metadata = f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
    body = f'<{name} xmlns="{_NAMESPACE}">{inner}{metadata}</{name}>'
    return web.Response(text=body, status=status, content_type="text/xml")
