"""The environment variables that make an unmodified SDK use a token and the edge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from keybroker.cli import provider_data


@dataclass(frozen=True, slots=True)
class Variables:
    """The variables of one SDK or tool."""

    key: str
    """Holds the token."""
    url: str
    """Holds the edge's URL."""
    unset: tuple[str, ...] = ()
    """Variables that would override these."""
    ours: bool = False
    """Whether `url` is our own name, which the SDK does not read: the program must pass the URL on by itself."""
    also: tuple[str, ...] = ()
    """Further names for the URL, read by programs that would otherwise send our token to the provider itself."""

    def assignments(self, key: str, url: str) -> dict[str, str]:
        """Return the variables with their values."""
        return {self.key: key, **dict.fromkeys((self.url, *self.also), url)}


def known() -> Mapping[str, Variables]:
    """Return the SDKs whose variables are known, by the name that `--for` takes, which is usually also the key's name."""
    sdks: Mapping[str, Mapping[str, Any]] = provider_data.load()["sdks"]
    return {
        name: Variables(**{**fields, "unset": tuple(fields["unset"]), "also": tuple(fields["also"])})
        for name, fields in sdks.items()
    }


def variables_for(name: str) -> Variables:
    """Return an SDK's variables; for an unknown name, `NAME_API_KEY` and `NAME_BASE_URL`."""
    found = known().get(name)
    if found is not None:
        return found
    stem = "".join(char if char.isascii() and char.isalnum() else "_" for char in name.upper())
    return Variables(f"{stem}_API_KEY", f"{stem}_BASE_URL", ours=True)


def concerned(names: Iterable[str]) -> set[str]:
    """Return the variables that a child gets with other values, or not at all, for these SDKs."""
    all_of = [variables_for(name) for name in names]
    return {name for one in all_of for name in (*one.unset, *one.assignments("", ""))}


def child_environ(parent: Mapping[str, str], given: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Return a child's environment. given: SDK -> key and base URL. Variables that would override them are left out."""
    by_name = {name: (variables_for(name), pair) for name, pair in given.items()}
    dropped = {name for variables, _ in by_name.values() for name in variables.unset}
    environ = {name: value for name, value in parent.items() if name not in dropped}
    for variables, (key, url) in by_name.values():
        environ |= variables.assignments(key, url)
    return environ


def without_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which loopback is reached directly, even if a proxy is set."""
    current = {name: environ.get(name, "") for name in ("NO_PROXY", "no_proxy")}
    added = {name: f"{value},127.0.0.1" if value else "127.0.0.1" for name, value in current.items()}
    return {**environ, **added}
