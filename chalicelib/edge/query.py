"""The query of a call: it goes on as it was sent, without the token."""

from __future__ import annotations

from urllib.parse import unquote_plus

from chalicelib.edge import method_override
from chalicelib.edge.errors import MethodOverride, TokenInQuery, TwoTokens


def values(query: str, name: str) -> list[str]:
    """Return the values of a parameter, decoded."""
    return [unquote_plus(piece.partition("=")[2]) for piece in query.split("&") if _name(piece) == name]


def without(query: str, name: str) -> str:
    """Return the query without a parameter, otherwise byte for byte as it was."""
    return "&".join(piece for piece in query.split("&") if _name(piece) != name)


def check(query: str) -> None:
    """Raise MethodOverride if a parameter names another method than the request's, or sets a header."""
    # SECURITY: a scope is for a method; a call that the provider would take for another method is not sent
    # (test_method_override).
    if query and method_override.is_in_pairs(query):
        raise MethodOverride("the query")


def to_provider_form(query: str, token_parameter: str, token: str) -> str:
    """Return the query that goes on to a provider.

    token_parameter: the parameter that may hold the token, "" if the provider takes none there.
    Raises TwoTokens if it holds another token than this one, TokenInQuery if this one is where it may not be.
    """
    if not query:
        return query
    if token_parameter:
        if set(values(query, token_parameter)) - {token, ""}:
            raise TwoTokens
        query = without(query, token_parameter)
    # SECURITY: what the provider is sent, it may write into a redirect, a cookie or a log
    # (test_token_elsewhere_in_the_query).
    if token in unquote_plus(query):
        raise TokenInQuery
    return query


def _name(piece: str) -> str:
    return unquote_plus(piece.partition("=")[0])
