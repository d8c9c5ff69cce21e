"""A JSON object that every parser reads alike, or a refusal: which parser a provider has is not known."""

from __future__ import annotations

from chalicelib import strict_json
from chalicelib.models.errors import BodyNotJson, BodyTooMany, BodyTwice
from chalicelib.strict_json import JsonError, Rule

_REASONS = {
    Rule.UTF8: "it must be UTF-8",
    Rule.STACK: "it is nested too deeply",
    Rule.UNICODE: "a member's name has half a surrogate pair",
}


def read(content: bytes) -> dict[str, object]:
    """Return the object; raises BodyNotJson, BodyTooMany or BodyTwice.

    Besides the rules of strict JSON, nothing may stand before the first brace, not even white space.
    """
    if not content.startswith(b"{"):
        raise BodyNotJson("it must be an object and begin with `{`")
    try:
        return strict_json.parse_object(content)
    except JsonError as error:
        if error.rule is Rule.NAMES:
            raise BodyTwice from None
        if error.rule is Rule.COUNT:
            raise BodyTooMany("objects, lists, members, strings or values") from None
        raise BodyNotJson(_REASONS.get(error.rule, str(error))) from None
