"""What an entry of the table of issuer presets says."""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.principal import Identity, RefusedValues


@dataclass(frozen=True, slots=True)
class Preset:
    """An entry: one kind of issuer."""

    url: str | None
    """The issuer's URL; None where each installation has its own."""
    algorithms: tuple[str, ...]
    """What it may sign with."""
    max_lifetime: int
    """Seconds: the longest `exp - iat` of its tokens."""
    documented: str
    """What its own documents say of that, which document, and of when it is or when it was read: platforms change both."""
    single_use: bool
    """Whether a token is exchanged once for each grant."""
    identity: Identity
    """The claims with the id that is never recycled."""
    label: str
    """The claim to show people."""
    forms: tuple[str, ...] = ()
    """What such a URL looks like, with `*` for anything but `/`; empty if it may be any."""
    audience: str | None = None
    """The tokens' audience, where the issuer fixes it."""
    token_types: tuple[str, ...] = ()
    """Values of `typ` in its tokens' headers, in lower case, beside the usual ones."""
    key_uses: tuple[str, ...] = ()
    """Values of `use` of the keys that sign its tokens, beside `sig`."""
    required: tuple[str, ...] = ()
    """Claims that have to be there."""
    refused: RefusedValues = ()
    """Values of a claim that are refused unless a grant lists them."""
    pins: tuple[tuple[str, ...], ...] = ()
    """Claims of which a grant has to pin at least one (lint)."""
    unwise: tuple[str, ...] = ()
    """Claims that a grant should not match (lint)."""
    lists: tuple[tuple[str, ...], ...] = ()
    """Claims that are lists, with `*` for any name on the way (lint)."""
    texts: tuple[str, ...] = ()
    """Claims that are never lists, beside those of the fields above (lint)."""
    sub_rule: str = "unwise-claim"
    """The lint rule that says why not to match `sub`, if that is unwise."""
    aws_principals: bool = False
    """Whether its tokens name AWS principals, which a grant writes as `aws` with `via: web-identity`."""
    id_words: str = ""
    """How docs/grants.md names an id of several claims."""


def single_claim(name: str) -> Identity:
    """Return an id that is the value of one claim."""
    return Identity(name, ((name,),))
