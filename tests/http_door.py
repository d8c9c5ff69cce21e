"""One door of the broker over real parts, called as API Gateway calls it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chalice.app import Chalice

import app
from tests.parts import Parts
from tests.running import Answer

JSON = "application/json"
ADA = "arn:aws:iam::123456789012:user/ada"


def public_door(parts: Parts) -> Door:
    """Return the public door over a test's parts."""
    return Door(app.public_app(parts.public_ports))


def admin_door(parts: Parts, **changes: Any) -> Door:  # noqa: ANN401  fields of AdminPorts
    """Return the administrators' door over a test's parts, of whose ports some differ."""
    return Door(app.admin_app(lambda: replace(parts.admin_ports(), **changes)))


class Door:
    """One door of the broker over real parts, called as API Gateway calls it."""

    def __init__(self, made: Chalice) -> None:
        self.app = made

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        resource: str | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str | list[str]] | None = None,
        identity: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> Answer:
        """Call a route. body: bytes arrive base64-encoded, text as it is, anything else as JSON."""
        text = body if body is None or isinstance(body, str | bytes) else json.dumps(body)
        context: dict[str, Any] = {
            "resourcePath": resource or path,
            "httpMethod": method,
            "requestId": "request-1",
            "path": path,
        }
        event = {
            "headers": {"content-type": JSON, **(headers or {})},
            "multiValueHeaders": {name: [value] for name, value in {"content-type": JSON, **(headers or {})}.items()},
            "multiValueQueryStringParameters": {
                name: value if isinstance(value, list) else [value] for name, value in query.items()
            }
            if query
            else None,
            "pathParameters": parameters,
            "stageVariables": None,
            "requestContext": context | ({} if identity is None else {"identity": identity}),
            "body": base64.b64encode(text).decode() if isinstance(text, bytes) else text,
            "isBase64Encoded": isinstance(text, bytes),
        }
        returned: dict[str, Any] = self.app(event, None)
        named = {name.lower(): value for name, value in returned["headers"].items()}
        return Answer(returned["statusCode"], named, str(returned["body"]).encode())

    def administer(self, method: str, path: str, body: object = None, **more: Any) -> Answer:  # noqa: ANN401  as ask
        """Call a route as an administrator."""
        return self.ask(method, path, body, identity={"userArn": ADA}, **more)

    def administer_as(self, arn: str, method: str, path: str, body: object = None, **more: Any) -> Answer:  # noqa: ANN401  as ask
        """Call a route as another administrator."""
        return self.ask(method, path, body, identity={"userArn": arn}, **more)


def problem(answer: Answer) -> tuple[int, str, str]:
    """Return status, title and detail of an RFC 9457 problem."""
    assert answer.headers["content-type"] == "application/problem+json", answer
    return answer.status, answer.json["title"], answer.json["detail"]
