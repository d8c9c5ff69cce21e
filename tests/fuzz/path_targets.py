"""The rules about paths: what they let through is asked of a provider that decodes as leniently as any."""

from __future__ import annotations

from hypothesis import strategies as st

from chalicelib.errors import Refusal
from chalicelib.providers import paths
from chalicelib.providers.presets import PROVIDERS
from tests import lenient_paths
from tests.fuzz.target import Target

_SCOPES = [
    ("GET:/**",),
    tuple("GET:" + "/*" * depth for depth in range(1, 7)),
    ("GET:/repos/*/*/branches/*", "GET:/repos/*/*/contents/*/*", "GET:/v1/models/*", "GET:/v1beta/models/*:x"),
]
_PIECES = """/ / / %2F %2F %2f : %3A ; %3B \\ %5C . .. %2E %2e %25 %252F %252E %00 %20 %C0%AF %EF%BC%8F %EF%BC%8E %C3%A9 * %2A
a b x:y create protection rename models branches main contents - _ ~ + @ %40""".split()  # noqa: SIM905
_CLOSED = sorted({(name, path.replace("*", "o")) for name, one in PROVIDERS.items() for path in one.closed})
_Drawn = tuple[str, str, tuple[str, ...]]


@st.composite
def _spelled(draw: st.DrawFn) -> _Drawn:
    """A provider, a path that is often a closed one in another spelling, and a scope."""
    name, path = draw(st.sampled_from(_CLOSED) | st.sampled_from([(name, "/v1") for name in sorted(PROVIDERS)]))
    changed = draw(st.lists(st.integers(0, len(path)), max_size=4))
    for place in sorted(changed, reverse=True):
        kept = place + draw(st.sampled_from([0, 1]))
        old = path[place:kept]
        same = {"/": ["%2F", "//", "\\", "%2F/"], "_": ["-", "%5F", ""]}.get(
            old, [f"%{ord(old):02X}", old.upper()] if old else []
        )
        path = path[:place] + draw(st.sampled_from([*same, *_PIECES])) + path[kept:]
    rest = "".join(draw(st.lists(st.sampled_from(_PIECES), max_size=5)))
    return name, path + rest, draw(st.sampled_from(_SCOPES))


def check(drawn: _Drawn) -> None:
    """Nothing that is closed is open in a reading of any server, and nothing goes on that a scope opens in one reading alone."""
    name, sent, scope = drawn
    provider = PROVIDERS[name]
    try:
        path = paths.to_provider_form(paths.split(f"/key{sent}")[1], provider.paths)
    except Refusal:
        return
    if paths.is_closed(provider, path) or not paths.scope_opens(scope, "GET", path, provider):
        return
    for meaning in lenient_paths.meanings(path):
        assert not lenient_paths.is_closed(provider.closed, meaning), meaning
    for reading in paths.readings(provider, path):
        assert lenient_paths.opens(scope, "GET", reading, verbs=provider.verbs), reading


def targets() -> list[Target]:
    """Return what is fuzzed here."""
    return [Target("path", _spelled(), check)]
