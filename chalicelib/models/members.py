"""The members of a body that name a model, or make the provider run one that they do not name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from chalicelib.models.errors import BodyTooMany, ModelElsewhere, ModelNotText

Json = dict[str, object]

_MEANS_A_MODEL = re.compile("model|fallback|deployment")
_NOT_PLAIN = re.compile("[^!-~]")
STORED = frozenset(
    {"previous_response_id", "conversation", "conversation_id", "thread", "thread_id", "assistant_id", "agent"}
    | {"agent_id", "cachedcontent", "cached_content", "preset", "route", "plugins", "user_config"}
    | {"data_sources", "datasources"}
)
"""State at the provider, and settings there, that can carry another model; in lower case."""
_NESTED = (dict, list)
_READ = frozenset({"type", "tools", "definition", "input"})
_FREE = frozenset({"parameters", "arguments", "args", "response", "metadata", "labels", "input_examples", "documents"})
"""Free-form members: arguments and tags, which mean nothing to the provider. So are schemas."""
_TOOL = re.compile(
    "function|custom|namespace|programmatic_tool_calling|mcp|mcp_toolset|tool_search.*|web_search.*|web_fetch.*|x_search"
    "|file_search|code_interpreter|code_execution.*|computer.*|browser.*|bash.*|text_editor.*|memory.*"
    "|shell|local_shell|apply_patch"
)
"""Tools that run no model of their own, with their dated names. `image_generation` and `advisor` do."""


NAMES = 2_000
"""How many different names a body's members may have; each is looked at."""


def named(body: Json, refused: frozenset[str]) -> tuple[str, ...]:
    """Return every model that a body names, at its top or nested; raises BodyTooMany, ModelElsewhere or ModelNotText.

    refused: members at its top, or `member=value`, that make the provider run another model.
    """
    if len(body) > NAMES:
        raise BodyTooMany("members")
    for name, value in body.items():
        if name != "model" and value is not None:
            check_member(name, value, refused)
    objects = list(_objects(body))
    names = set().union(*objects)
    if len(names) > NAMES:
        raise BodyTooMany("different members")
    odd = {name for name in names if name != "model" and is_odd(name)}
    for one in objects if odd else ():
        for name in odd & one.keys():
            if one[name] is not None and one[name] is not False:
                raise ModelElsewhere(name)
    return tuple(_text(one["model"]) for one in objects if one.get("model") is not None)


def check_name(name: str) -> None:
    """Raise ModelElsewhere if the name of a member, field, parameter or header other than `model` is about models.

    Another spelling of a name that this module reads is refused as well.
    """
    if is_odd(name):
        raise ModelElsewhere(name)


def check_member(name: str, value: object, refused: frozenset[str]) -> None:
    """Raise ModelElsewhere if a member at the top of a body makes the provider run another model."""
    check_name(name)
    plain = _plain(name)
    with_value = f"{plain}={value.strip().lower()}" if isinstance(value, str) else plain
    if plain in STORED or not refused.isdisjoint({plain, with_value}):
        raise ModelElsewhere(name)


def is_named(name: str, names: Collection[str]) -> bool:
    """Whether a member has one of these names, in any spelling that a parser may take for it."""
    return _plain(name) in names


def is_odd(name: str) -> bool:
    """Whether a name is about models, or another spelling of one that this module reads."""
    plain = _plain(name)
    return _MEANS_A_MODEL.search(plain) is not None or (plain in _READ and plain != name)


def _plain(name: str) -> str:
    # SECURITY: Go's parser takes `Model` for `model`, C's ends a name at NUL, others drop half a surrogate pair
    # (test_model_vectors).
    return _NOT_PLAIN.sub("", name.casefold())


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ModelNotText
    return value


def _objects(body: Json) -> Iterator[Json]:
    """Yield the body and the objects in it, without free-form members; raises ModelElsewhere."""
    left: list[tuple[str, object]] = [("", body)]
    while left:
        name, value = left.pop()
        if isinstance(value, list):
            left += [(name, one) for one in value if type(one) in _NESTED]
        elif isinstance(value, dict):
            kind = value.get("type")
            if kind is not None or name == "input":
                _check_object(name, kind, value)
            yield value
            is_use = value is not body and isinstance(kind, str) and kind.endswith("tool_use")
            left += [
                (member, held)
                for member, held in value.items()
                if type(held) in _NESTED and not _is_free(member) and not (is_use and member == "input")
            ]


def _is_free(name: str) -> bool:
    return name in _FREE or name.lower().endswith("schema")


def _check_object(name: str, kind: object, value: Json) -> None:
    """Raise ModelElsewhere for a tool that runs a model of its own, and for a reference to what is stored."""
    if name in ("tools", "definition") and not (isinstance(kind, str) and _TOOL.fullmatch(kind)):
        raise ModelElsewhere(f"{name}: {kind}" if isinstance(kind, str) else name)
    is_bare = kind is None and value.get("role") is None
    if kind == "item_reference" or (is_bare and "id" in value):
        raise ModelElsewhere("item_reference")
