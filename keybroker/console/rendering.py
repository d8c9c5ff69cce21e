"""Makes pages of templates. Everything that is put into one is escaped; what callers call themselves is text, and nothing else."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from keybroker.cli.plain_text import plain
from keybroker.duration import words

_TEMPLATES: Final = Path(__file__).parent / "templates"
_ID_SHOWN: Final = 44
_SPARK: Final = (120, 24)
"""Width and height of a sparkline."""


def environment() -> Environment:
    """Return what makes pages. A name that a template has and a view does not give is an error."""
    # SECURITY: names come from callers' tokens (test_hostile_names_are_text).
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "when": when,
        "clock": clock,
        "age": age,
        "ahead": ahead,
        "seen": seen,
        "number": number,
        "plain": plain,
        "short": short,
    }
    made.globals |= {"link": link, "cli": cli, "sparkline": sparkline, "compact": compact}
    return made


def when(at: float | None) -> str:
    """Return a time as people read it, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at)) if at else "-"


def clock(at: float) -> str:
    """Return a time of today, in UTC."""
    return time.strftime("%H:%M:%S UTC", time.gmtime(at))


def age(at: float | None, now: float) -> str:
    """Return how long ago something was."""
    return f"{words(max(0, int(now - at)))} ago" if at else "never"


def seen(at: float | None, now: float) -> str:
    """Return how long ago something was of which no more than the minute is known."""
    minutes = int(now // 60 - at // 60) if at else 0
    return age(at, now) if not at else f"{words(minutes * 60)} ago" if minutes > 0 else "this minute"


def ahead(at: float | None, now: float) -> str:
    """Return in how long something will be."""
    if not at:
        return "-"
    return f"in {words(int(at - now))}" if at > now else f"{words(int(now - at))} ago"


def number(value: float | None) -> str:
    """Return a number with separators."""
    return "-" if value is None else f"{value:,}"


def short(text: str) -> str:
    """Return an id without its middle: what tells ids apart is at their ends."""
    shown = plain(text)
    half = _ID_SHOWN // 2
    return shown if len(shown) <= _ID_SHOWN else f"{shown[:half]}…{shown[-half:]}"


def link(path: str, **query: object) -> str:
    """Return an address with its parameters encoded; those that are empty are left out."""
    pairs = {name: value for name, value in query.items() if value not in (None, "", False)}
    return f"{path}?{urlencode(pairs)}" if pairs else path


def cli(*words_: object) -> str:
    """Return the command that does the same, to be copied into a shell."""
    return shlex.join(["keybroker", *(str(one) for one in words_ if one not in (None, ""))])


def compact(value: object) -> str:
    """Return a value as JSON on one line, for an attribute that a script reads."""
    return json.dumps(value, separators=(",", ":"))


def sparkline(numbers: Sequence[int], title: str) -> Markup:
    """Return a line of these numbers as a picture; its title says the same in words."""
    width, height = _SPARK
    most, step = max([*numbers, 1]), width / max(1, len(numbers) - 1)
    points = " ".join(
        f"{index * step:.1f},{height - 2 - one * (height - 4) / most:.1f}" for index, one in enumerate(numbers)
    )
    return Markup(
        '<svg class="spark" role="img" viewBox="0 0 {} {}" width="{}" height="{}"><title>{}</title>'
        '<polyline points="{}"></polyline></svg>'
    ).format(width, height, width, height, title, points)


def render(made: Environment, template: str, context: Mapping[str, Any]) -> str:
    """Return a page."""
    return made.get_template(template).render(context)
