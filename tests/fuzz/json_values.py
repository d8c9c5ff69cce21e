"""JSON as an attacker would write it, and mutations of it in arbitrary places."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

TEXT = st.text(max_size=20) | st.sampled_from(["", " ", "\x00", "\ud800", "é", "a" * 300, "\r\nX: 1", "../..", "true"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 2**53, 2**63, 10**400, 1e300, -0.0])
    | st.floats(allow_nan=False)
    | TEXT
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)


@st.composite
def changed(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> Any:  # noqa: ANN401  JSON
    """A value of which up to three members, anywhere in it, are other things, are gone, or are there twice."""
    found = copy.deepcopy(draw(values))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(found))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        what = draw(st.sampled_from(["replace", "remove", "wrap", "add"]))
        if what == "remove":
            del holder[key]
        elif what == "replace":
            holder[key] = draw(VALUES)
        elif what == "wrap":
            holder[key] = [holder[key]]
        elif isinstance(holder, dict):
            holder[draw(TEXT)] = draw(VALUES)
        else:
            holder.append(draw(VALUES))
    return found


def _places(value: Any) -> Any:  # noqa: ANN401  JSON
    """Yield (holder, key) of every member of a value, the outer ones first."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in list(members):
        yield value, key
        yield from _places(member)
