"""What an entry of the table of providers says: the types of its fields, and what several entries share.

The edge loads the table at every cold start, so an entry is made of tuples; what only the command line needs is in them as
plain text (`make providers` copies it to keybroker/cli/providers.json).
"""

from typing import NamedTuple

PathForms = tuple[tuple[str, str], ...]
"""(as clients write a path's beginning, as the provider itself does); the first that fits is meant, "" fits all."""

JSON, FORM = "json", "form"
"""The kinds of body that an endpoint takes."""


class EncodedSlash(NamedTuple):
    """Paths whose API reads an encoded slash (`%2F`) in one way, or in which nothing depends on how it does."""

    path: str
    """What is before the parameter that may have one; `*` is any one segment."""
    is_separator: bool
    """Whether `a%2Fb` is the path `a/b`; else it is a character of its segment."""
    below: str = ""
    """Names of other endpoints, separated by spaces: behind a `%2F` they might be reached, so both readings count then."""


class Probe(NamedTuple):
    """A cheap request that changes nothing and that only a good key is answered with 200.

    400 and 401 say that the key is not valid (Google and xAI answer 400), 403 that it may not do this.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    """Headers that the request needs beside the key."""


class ModelEndpoints(NamedTuple):
    """Endpoints under one path where `model` alone says which model runs. A grant with `models` opens only such."""

    base: str
    """The path before their names, with `{model}` where it names the model."""
    names: str
    """The rest of each path, separated by spaces."""
    method: str = "POST"
    bodies: tuple[str, ...] = (JSON,)
    """The kinds of body that they take; empty if none."""
    refused: frozenset[str] = frozenset()
    """Members of the body, or `member=value`, that have it run another model."""
    prefix: str = ""
    """An optional prefix of a model's name in the body."""


class Sdk(NamedTuple):
    """The environment variables that have one SDK or tool use a token and the edge, as it reads them (measured in 2026)."""

    name: str
    """What `keybroker exec --for` takes; usually also the key's name."""
    key: str
    """Holds the token."""
    url: str
    """Holds the edge's URL."""
    unset: tuple[str, ...] = ()
    """Variables that would override these."""
    also: tuple[str, ...] = ()
    """Further names for the URL, read by programs that would otherwise send the token to the provider itself."""
    ours: bool = False
    """Whether `url` is a name of our own, which the SDK does not read: the program has to pass the URL on."""
    note: str = ""
    """What docs/cli.md says beside the variables."""


class Provider(NamedTuple):
    """An entry: one API that keys open."""

    origin: str | None
    """`https://host[:port]`; None where each installation has its own."""
    header: str = "authorization"
    """The header that the key is sent in."""
    prefix: str = "Bearer "
    """Text before the key in that header."""
    base_path: str = ""
    """What SDKs expect at the end of a base URL."""
    token_headers: tuple[str, ...] = ("authorization",)
    """The headers in which its SDKs send their key, and so our token."""
    token_parameter: str = ""
    """The query parameter that may hold the token instead; "" for none."""
    paths: PathForms = ()
    """How clients write its paths, and how it does itself."""
    verbs: bool = True
    """Whether `:` may begin a verb at a path's end (`models/x:generateContent`), which a scope's last `*` does not open."""
    encoded_slashes: tuple[EncodedSlash, ...] = ()
    """Where an encoded slash has one reading. Elsewhere a call has to be open in both."""
    closed: tuple[str, ...] = ()
    """Paths that no grant opens, nor what is below them; `*` is any one segment, and `_` is `-` or nothing as well. They
    mint, hold or show credentials, administer the account, or show what headers a request had."""
    overrides: tuple[str, ...] = (JSON, FORM)
    """The kinds of body in which its API may read another method than the request's (`_method`). Empty for (K) APIs of
    language models, which read none, and take larger uploads than the edge sees."""
    models: tuple[ModelEndpoints, ...] = ()
    """The endpoints that a grant with `models` can open; none if such a grant opens nothing of it."""
    web_sockets: tuple[str, ...] = ()
    """Paths that answer as WebSockets alone."""
    probe: Probe | None = None
    """How a key is checked; None where nothing is known to answer."""
    error_text: tuple[str, ...] = ()
    """The members to follow to the text for people in the body of one of its errors; empty if that is not known."""
    key_pattern: str = ""
    """A regular expression for a whole key, by which `keybroker doctor` finds leaked ones; "" if a key has no known form."""
    key_variables: tuple[str, ...] = ()
    """Where a key has no prefix: the variables by whose assignment it is recognized, and only there."""
    sdks: tuple[Sdk, ...] = ()
    """Its SDKs and tools that read environment variables."""

    def openai_bases(self) -> tuple[str, ...]:
        """Return the paths below which it has OpenAI's API, as its own or as a copy."""
        return tuple(one.base for one in self.models if "chat/completions" in one.names.split())


def below(base: str, names: str) -> tuple[str, ...]:
    """Return the paths of names, separated by spaces, below a base."""
    return tuple(f"{base}/{name}" for name in names.split())


def account(base: str) -> tuple[str, ...]:
    """Return where account administration is, or would be if it came: closed by name, before anyone grants a pattern."""
    names = "organization organizations workspaces admin service_accounts invites oauth auth billing"
    return below(base, f"{names} api_keys admin_api_keys api_key keys key")


def model_list(base: str) -> ModelEndpoints:
    """Return the list of models, whose path names none, and a single model by its id."""
    return ModelEndpoints(base, "models models/{model}", "GET", bodies=())


EPHEMERAL_KEYS = (
    "realtime/client_secrets realtime/sessions realtime/transcription_sessions realtime/translations/client_secrets"
)
"""Each answers a key for browsers, which works without the edge."""
RESPONSES = "responses responses/compact responses/input_tokens"
TRANSCRIPTIONS = "audio/transcriptions audio/translations"
STORED_PROMPT = frozenset({"prompt"})
_SVG = frozenset({"svg", "output_format=svg"})
"""SVG images are drawn by a model for text, which `model` does not name."""


def openai_endpoints(base: str) -> tuple[ModelEndpoints, ...]:
    """Return the endpoints that OpenAI's API and Azure's have in common."""
    return (
        ModelEndpoints(base, "chat/completions completions embeddings audio/speech"),
        ModelEndpoints(base, TRANSCRIPTIONS, bodies=(FORM,)),
        ModelEndpoints(base, "images/generations", refused=_SVG),
        ModelEndpoints(base, "images/edits", bodies=(FORM, JSON), refused=_SVG),
    )
