"""From the types of the policy file to what reads them."""

from __future__ import annotations

import functools
import types
import typing
from typing import Annotated, Any, Union

import msgspec

from chalicelib.policy.faults import Absent
from chalicelib.policy.reader import Elements, Leaf, OneOrMore, Record, RecordOr, Shape, Table


@functools.cache
def shape_of(kind: Any) -> Shape:  # noqa: ANN401  a type
    """Return the shape of a type of the policy file: a Struct, a list, a mapping, a leaf, or one or a list of such."""
    options = [one for one in _options(kind) if one not in (types.NoneType, Absent)]
    lists = [one for one in options if typing.get_origin(_bare(one)) is list]
    leaves = [one for one in options if one not in lists]
    if lists:
        elements = Elements(shape_of(typing.get_args(_bare(lists[0]))[0]), _most(lists[0]))
        return OneOrMore(_single(leaves), elements) if leaves else elements
    return _single(leaves)


def _single(options: list[Any]) -> Shape:
    first, bare = options[0], _bare(options[0])
    records = [one for one in options if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    if records and len(options) > 1:
        return RecordOr(_single(records), _single([one for one in options if one not in records]))
    if len(options) > 1:
        return Leaf(Union[tuple(options)], _description(first))  # noqa: UP007  made of a list of types
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        fields = msgspec.structs.fields(bare)
        required = tuple(field.name for field in fields if field.required)
        return Record(bare, {field.name: shape_of(field.type) for field in fields}, required)
    if typing.get_origin(bare) is dict and typing.get_args(bare)[1] is not Any:
        name, value = typing.get_args(bare)
        return Table(Leaf(name, _description(name)), shape_of(value), _most(first))
    return Leaf(first, "true or false" if bare is bool else _description(first))


def _options(kind: Any) -> tuple[Any, ...]:  # noqa: ANN401  a type
    return typing.get_args(kind) if typing.get_origin(kind) in (Union, types.UnionType) else (kind,)


def _bare(kind: Any) -> Any:  # noqa: ANN401  a type
    return typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind


def _most(kind: Any) -> int | None:  # noqa: ANN401  a type
    return next((meta.max_length for meta in getattr(kind, "__metadata__", ())), None)


def _description(kind: Any) -> str:  # noqa: ANN401  a type
    texts = [meta.description for meta in getattr(kind, "__metadata__", ()) if getattr(meta, "description", None)]
    return str(texts[-1]) if texts else ""
