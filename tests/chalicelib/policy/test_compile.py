"""The policy file as a whole, by vectors, and by texts that nobody would write.

`vectors/policy/valid/*.yaml` parse. `vectors/policy/invalid/*.yaml` have exactly the faults that their last lines state:
`#? [line, field, found, allowed]`, then `#schema` with what the JSON Schema says (test_schema.py).
"""

from __future__ import annotations

import json
import random
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chalicelib.budget import BudgetLimit
from chalicelib.issuers.presets import PRESETS
from chalicelib.issuers.registry import Issuer
from chalicelib.policy import compile as policy
from chalicelib.policy.compile import InstallationRules, InvalidPolicyError, Policy
from chalicelib.policy.grants import Grant
from chalicelib.quota import Limit
from tests.policy_vectors import INVALID, VALID

ONE = """\
keys: {openai: {provider: openai}}
issuers: {github: {preset: github-actions, audience: keybroker}}
grants:
  app:
    key: openai
    to: {issuer: github, claims: {repository_id: "1"}}
    scope: ["POST:/v1/responses"]
    quota: {tokens: 1/hour, calls: 1/minute}
"""


def faults(text: str, rules: InstallationRules = policy.DEPLOYED) -> list[list[object]]:
    """Read a policy that is refused; return line, field, found and allowed of each fault."""
    with pytest.raises(InvalidPolicyError) as caught:
        policy.parse(text, "k.yaml", rules)
    assert {one.file for one in caught.value.faults} == {"k.yaml"}
    return [[one.line, one.field, one.found, one.allowed] for one in caught.value.faults]


def grant_of(name: str, vector: str) -> Grant:
    return policy.parse(VALID[vector]).grants[name]


def wanted(name: str, vector: str) -> dict[tuple[str, ...], object]:
    return dict(grant_of(name, vector).claims)


# Vectors


@pytest.mark.parametrize("name", VALID)
def test_valid_files_parse(name: str) -> None:
    """A valid file parses, with each grant that it has, and is read back as it is stored."""
    found = policy.parse(VALID[name])
    written = re.findall(r"^  ([\w-]+):", VALID[name].split("grants:")[1], re.MULTILINE)
    assert list(found.grants) == written
    assert all(Grant.from_json(json.loads(json.dumps(one.to_json()))) == one for one in found.grants.values())
    assert all(Issuer.from_json(json.loads(json.dumps(one.to_json()))) == one for one in found.issuers.values())


@pytest.mark.parametrize("name", INVALID)
def test_invalid_files_have_these_faults(name: str) -> None:
    """An invalid file has exactly the faults that its last lines state."""
    expected = [json.loads(line) for line in re.findall(r"^#\? (.*)$", INVALID[name], re.MULTILINE)]
    assert expected
    assert faults(INVALID[name]) == expected


@pytest.mark.parametrize("name", INVALID)
def test_faults_come_by_line_and_each_once(name: str) -> None:
    """Faults are sorted by line, and none is told twice."""
    found = faults(INVALID[name])
    assert [one[0] for one in found] == sorted(int(str(one[0])) for one in found)
    assert len({json.dumps(one) for one in found}) == len(found)


def test_fault_as_text_and_json() -> None:
    """A fault reads `file:line: field: found …, allowed: …`, which editors can follow."""
    with pytest.raises(InvalidPolicyError) as caught:
        policy.parse(ONE.replace("1/hour", "1/week"), "team/keybroker.yaml")
    allowed = "a limit: N/minute, N/hour or N/day"
    text = f"team/keybroker.yaml:8: grants.app.quota.tokens: found '1/week', allowed: {allowed}"
    assert str(caught.value) == text
    (fault,) = caught.value.faults
    assert fault.to_json() == {
        "file": "team/keybroker.yaml",
        "line": 8,
        "field": "grants.app.quota.tokens",
        "found": "'1/week'",
        "allowed": allowed,
    }


# What a file means


def test_grant_of_a_file() -> None:
    """A grant has what the file says."""
    assert grant_of("app-ci", "design") == Grant(
        name="app-ci",
        key="openai",
        issuer="https://token.actions.githubusercontent.com",
        claims=(
            (("repository_owner_id",), ("9919",)),
            (("repository_id",), ("1234",)),
            (("ref",), ("refs/heads/main", "refs/tags/*")),
        ),
        scope=("POST:/v1/chat/completions", "POST:/v1/responses", "GET:/v1/models", "GET:/v1/models/*"),
        ttl=900,
        token_limits=(Limit(30, "hour"),),
        call_limits=(Limit(120, "minute"), Limit(10_000, "day")),
        total_limits=(Limit(100_000, "day"),),
        models=("gpt-5-mini", "text-embedding-3-*"),
        source_ips=("198.51.100.0/24",),
    )


def test_issuer_without_preset() -> None:
    """An issuer without a preset has what the file says."""
    one = policy.parse(VALID["design"]).issuers["cluster"]
    assert (one.url, one.audience, one.algorithms) == ("https://k8s.example.com", "keybroker", ("RS256",))
    assert (one.max_lifetime, one.single_use, one.identity.paths) == (86_400, False, (("sub",),))
    assert one.jwks is not None
    assert one.jwks["keys"][0]["kid"] == "cluster-1"


def test_issuer_with_preset() -> None:
    """What the file leaves out comes from the issuer's preset."""
    found = policy.parse(VALID["design"]).issuers
    assert (found["github"].url, found["github"].single_use) == ("https://token.actions.githubusercontent.com", True)
    assert (found["gitlab"].url, found["gitlab"].single_use) == ("https://gitlab.example.com", False)


@pytest.mark.parametrize("written", ["single_use: false", "max_lifetime: 60s", "algorithms: [ES256]"])
def test_file_overrides_preset(written: str) -> None:
    """What the file says wins over the preset."""
    one = policy.parse(ONE.replace("audience: keybroker", f"audience: keybroker, {written}")).issuers["github"]
    expected = {"single_use": False, "max_lifetime": 60, "algorithms": ("ES256",)}
    name = written.partition(":")[0]
    assert getattr(one, name) == expected[name] != getattr(PRESETS["github-actions"], name)


def test_preset_rules_stay() -> None:
    """What a preset refuses and requires cannot be turned off."""
    for field in ("required: []", "refused: []", "identity: sub"):
        name = field.partition(":")[0]
        (fault,) = faults(ONE.replace("audience: keybroker", f"audience: keybroker, {field}"))
        assert fault[1:3] == [f"issuers.github.{name}", f"an unknown field {name!r}"]


def test_defaults_of_a_grant() -> None:
    """Without models and addresses a grant allows any, and its tokens live 15 minutes."""
    one = policy.parse(ONE).grants["app"]
    assert (one.models, one.source_ips, one.total_limits, one.ttl) == (None, None, (), 900)


@pytest.mark.parametrize(
    ("name", "arn"),
    [
        ("role", "arn:aws:iam::123456789012:role/billing"),
        ("role-with-path", "arn:aws:iam::123456789012:role/billing"),  # sessions do not carry the path
        ("china", "arn:aws-cn:iam::123456789012:role/billing"),
        ("government", "arn:aws-us-gov:iam::123456789012:role/billing"),
        ("user", "arn:aws:iam::123456789012:user/ada"),
        ("user-with-path", "arn:aws:iam::123456789012:user/team/ada"),
        ("federated", "arn:aws:sts::123456789012:federated-user/ada"),
        ("every-role", "arn:aws:iam::123456789012:role/*"),
    ],
)
def test_aws_principal(name: str, arn: str) -> None:
    """An AWS principal is matched by account and by ARN."""
    assert grant_of(name, "aws").issuer == "aws"
    assert wanted(name, "aws") == {("aws_account",): ("123456789012",), ("aws",): (arn,)}


@pytest.mark.parametrize("name", ["web-identity", "web-identity-with-path"])
def test_aws_via_web_identity(name: str) -> None:
    """Via web identity a principal is matched by the claims of AWS's own issuer."""
    arn = "arn:aws:iam::123456789012:role/" + ("service/billing" if "path" in name else "billing")
    assert grant_of(name, "aws").issuer.endswith(".tokens.sts.global.api.aws")
    assert wanted(name, "aws") == {
        ("https://sts.amazonaws.com/", "aws_account"): ("123456789012",),
        ("sub",): (arn,),
    }


def test_values_keep_their_type() -> None:
    """A value has the type that it is written with."""
    found = {path[0]: values for path, values in wanted("values", "claims").items()}
    types = {name: [(type(one), one) for one in values] for name, values in found.items() if isinstance(values, tuple)}
    assert types["text"] == [(str, "true")]
    assert types["truth"] == [(bool, True)]
    assert types["number"] == [(int, 1)]
    assert types["digits"] == [(str, "1")]
    assert types["negative"] == [(int, -5)]
    assert types["mixed"] == [(int, 1), (bool, True), (str, "1"), (str, "true")]
    assert types["quoted"] == [(str, one) for one in ("yes", "null", "010", "2026-07-15", "1.0", "~")]
    assert types["case"] == [(str, "Main")]
    assert types["blank"] == [(str, " ")]
    assert {"1", "null", "agent_tag:queue", "oidc.circleci.com/project-id"} <= found.keys()


def test_nested_claims() -> None:
    """A nested claim is a list of names, in YAML or as JSON."""
    assert list(wanted("paths", "claims")) == [
        ("kubernetes.io", "namespace"),
        ("kubernetes.io", "serviceaccount", "name"),
        ("https://sts.amazonaws.com/", "principal_tags", "team"),
        ("sub",),
        ("[",),
    ]


def test_bounds_are_allowed() -> None:
    """The least and the greatest duration and limit are allowed."""
    found = policy.parse(VALID["bounds"])
    ttls = {name: one.ttl for name, one in found.grants.items() if name.startswith(("least", "most"))}
    assert ttls == {"least": 300, "least-seconds": 300, "most": 3600, "most-seconds": 3600, "most-minutes": 3600}
    assert {name: one.max_lifetime for name, one in found.issuers.items()} == {"a": 60, "b": 7 * 86_400}
    assert found.grants["limits"].call_limits == (Limit(1_000_000_000, "day"),)


@pytest.mark.parametrize("text", ["90s", "15m", "1h", "7d"])
def test_durations(text: str) -> None:
    """A duration is a number of seconds, minutes, hours or days."""
    assert {"90s": 90, "15m": 900, "1h": 3600, "7d": 604_800}[text] == policy.seconds(text)


# Sizes


@pytest.mark.parametrize(
    ("field", "most", "written"),
    [
        ("scope", 100, '"GET:/{}"'),
        ("models", 100, "m{}"),
        ("source_ips", 100, "10.0.{}.0/24"),
        ("to.claims.repository_id", 100, '"{}"'),
    ],
)
def test_longest_lists(field: str, most: int, written: str) -> None:
    """A list may have a hundred values and not one more."""

    def text(count: int) -> str:
        values = f"[{', '.join(written.format(number) for number in range(count))}]"
        if field.startswith("to"):
            return ONE.replace('repository_id: "1"', f"repository_id: {values}")
        if field == "scope":
            return ONE.replace('["POST:/v1/responses"]', values)
        return f"{ONE}    {field}: {values}\n"

    policy.parse(text(most))
    assert [one[1:] for one in faults(text(most + 1))] == [[f"grants.app.{field}", str(most + 1), f"at most {most}"]]


def test_most_claims() -> None:
    """A grant may match fifty claims and not one more."""

    def text(count: int) -> str:
        return ONE.replace('repository_id: "1"', ", ".join(f"c{number}: x" for number in range(count)))

    policy.parse(text(50))
    assert [one[1:] for one in faults(text(51))] == [["grants.app.to.claims", "51", "at most 50"]]


@pytest.mark.parametrize("length", [1024, 1025])
def test_longest_text(length: int) -> None:
    """A text may have 1,024 characters and not one more; a longer one is cut in its fault."""
    text = ONE.replace('repository_id: "1"', f"repository_id: {'x' * length}")
    if length == 1024:
        assert policy.parse(text).grants["app"].claims[0][1] == ("x" * 1024,)
    else:
        (fault,) = faults(text)
        assert fault[1] == "grants.app.to.claims.repository_id"
        assert len(str(fault[2])) == 200


# Line breaks, which `$` of a regular expression lets pass


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  app:", '  "app\\n":'),
        ("{openai:", '{"openai\\n":'),
        ("1/hour", '"1/hour\\n"'),
        ('"POST:/v1/responses"', '"POST:/v1/responses\\n"'),
        ("    key: openai", '    key: "openai\\n"'),
        ("    key: openai", '    ttl: "15m\\n"\n    key: openai'),
        ("issuer: github,", 'issuer: "github\\n",'),
    ],
)
def test_trailing_line_breaks(before: str, after: str) -> None:
    """No pattern lets a line break at the end of a text pass, as `$` does."""
    assert before in ONE
    assert any(str(one[2]).endswith("\\n'") for one in faults(ONE.replace(before, after)))


# What one machine lets in besides

LOOPBACK = InstallationRules(PRESETS, loopback_issuers=True)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8003", "http://localhost:8003", "http://[::1]:8003"])
def test_loopback_issuers(url: str) -> None:
    """An issuer on this machine may use http:// only where the installation allows it."""
    text = ONE.replace("preset: github-actions", f'preset: github-actions, url: "{url}"')
    assert policy.parse(text, rules=LOOPBACK).issuers["github"].url == url
    assert [one[1:] for one in faults(text)] == [["issuers.github.url", repr(url), "an https:// URL"]]


@pytest.mark.parametrize("url", ["http://127.0.0.1.example.com", "http://127.0.0.2", "http://localhost.example.com"])
def test_http_elsewhere(url: str) -> None:
    """An issuer elsewhere never uses http://."""
    text = ONE.replace("preset: github-actions", f'preset: github-actions, url: "{url}"')
    assert [one[3] for one in faults(text, LOOPBACK)] == ["an https:// URL"]


# Limits of what models take

SEEING = InstallationRules(PRESETS, sees_answers=True)
_USAGE = "a limit of models' tokens: N tokens/minute, N tokens/hour or N tokens/day"

_SPEND = "a limit of what models cost: N usd/minute, N usd/hour or N usd/day"


def with_usage(usage: str, total: str = "") -> str:
    return ONE.replace("calls: 1/minute}", f"calls: 1/minute, usage: {usage}}}") + (
        f"    total: {total}\n" if total else ""
    )


@pytest.mark.parametrize(
    ("usage", "total", "budgets"),
    [
        ("5 tokens/day", "", (BudgetLimit("usage", 5, "day"),)),
        (
            "5 tokens/day, spend: [0.5 usd/hour, 20 usd/day]",
            "{spend: 100 usd/day}",
            (
                BudgetLimit("usage", 5, "day"),
                BudgetLimit("spend", 500_000, "hour"),
                BudgetLimit("spend", 20_000_000, "day"),
                BudgetLimit("spend", 100_000_000, "day", shared=True),
            ),
        ),
        (
            "[5 tokens/day, 2 tokens/minute]",
            "{usage: 9 tokens/day}",
            (
                BudgetLimit("usage", 5, "day"),
                BudgetLimit("usage", 2, "minute"),
                BudgetLimit("usage", 9, "day", shared=True),
            ),
        ),
    ],
)
def test_budgets_of_a_file(usage: str, total: str, budgets: tuple[BudgetLimit, ...]) -> None:
    """What models may take is limited for each principal, and for all of them without any limit of their calls."""
    found = policy.parse(with_usage(usage, total), rules=SEEING).grants["app"]
    assert (found.budgets, found.total_limits) == (budgets, ())


@pytest.mark.parametrize(
    ("usage", "fault"),
    [
        ("5/day", [8, "grants.app.quota.usage", "'5/day'", _USAGE]),
        ("0 tokens/day", [8, "grants.app.quota.usage", "'0 tokens/day'", _USAGE]),
        (
            "9000000000000 tokens/day",
            [8, "grants.app.quota.usage", "'9000000000000 tokens/day'", "more than 0 and at most 1000000000000 tokens"],
        ),
        (
            "5 tokens/day, spend: 0 usd/day",
            [8, "grants.app.quota.spend", "'0 usd/day'", "more than 0 and at most 1000000 usd"],
        ),
        ("5 tokens/day, spend: 1e3 usd/day", [8, "grants.app.quota.spend", "'1e3 usd/day'", _SPEND]),
        (
            "[5 tokens/day, 6 tokens/day]",
            [8, "grants.app.quota.usage.1", "'6 tokens/day'", "one limit for each window"],
        ),
    ],
)
def test_budgets_with_a_fault(usage: str, fault: list[object]) -> None:
    """A limit that is none, or is there twice, is a fault at its line."""
    assert faults(with_usage(usage), SEEING) == [fault]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (with_usage("5 tokens/day"), "grants.app.quota.usage"),
        (ONE + "    total: {usage: 5 tokens/day}\n", "grants.app.total.usage"),
    ],
)
def test_a_budget_where_no_edge_sees_answers(text: str, field: str) -> None:
    """Where only Lambda@Edge serves, which sees no answer, a limit of what models take is a fault that says so."""
    ((_, where, _, why),) = faults(text)
    assert where == field
    assert "Lambda@Edge sees no answer" in str(why)
    assert policy.parse(text, rules=SEEING).grants["app"].budgets


def test_an_empty_total_is_a_fault() -> None:
    """A total limits something."""
    assert [one[1:] for one in faults(ONE + "    total: {}\n", SEEING)] == [
        ["grants.app.total", "an empty mapping", "a mapping that is not empty"]
    ]


# Anything at all


def read_or_refused(text: str) -> Policy | None:
    """Read a text. Whatever it is, nothing but InvalidPolicyError comes out, with faults that can be shown."""
    try:
        return policy.parse(text)
    except InvalidPolicyError as invalid:
        found = invalid.faults
    lines = 1 + sum(text.count(mark) for mark in "\n\r\x85\u2028\u2029")
    assert found
    for fault in found:
        assert 1 <= fault.line <= lines + 1
        assert fault.found
        assert fault.allowed
        assert len(fault.found) <= 200
        json.dumps(fault.to_json(), ensure_ascii=False).encode()
    return None


@given(
    st.text(st.characters(codec=None), max_size=60) | st.text("agk:-?[]{},&*!|>'\"%@` #\n\t~<1\ufeff\x85\u2028\ud800")
)
@example("keys: {? {a: 1} : {}}")
@example("grants: {a: {to: {claims: {'[\"a\"': x}}}}")
@example("issuers: {a: {jwks: {? [a]: b}}}")
def test_any_text(text: str) -> None:
    """Any text is read, or refused with faults that can be shown."""
    read_or_refused(text)


_PIECES = re.compile(r"\w+|[^\w\s]|\s+")
_ODD = [
    "*",
    "null",
    "~",
    "yes",
    "1",
    "1.5",
    "[]",
    "{}",
    "[a]",
    "{a: b}",
    '""',
    "'[\"'",
    "x",
    "\n",
    "  ",
    ":",
    ",",
    "0",
    "é",
]
_ODD += [
    "- ",
    "? ",
    "aws",
    "via",
    "claims",
    "http://a",
    "::/0",
    "9" * 30,
    "2026-01-01",
    "15m\\n",
    "<<",
    "!a",
    "&a",
    "|",
    "\x00",
]


@given(st.sampled_from(sorted(VALID)), st.randoms(use_true_random=False), st.integers(1, 4))
def test_any_small_change(name: str, chance: random.Random, times: int) -> None:
    """A good policy with a few pieces changed is read with limits and claims in each grant, or refused."""
    pieces = _PIECES.findall(VALID[name])
    for _ in range(times):
        at = chance.randrange(len(pieces))
        pieces[at] = chance.choice(["", chance.choice(_ODD), pieces[at] * 2, chance.choice(pieces)])
    read = read_or_refused("".join(pieces))
    if read is not None:
        assert all(one.claims and one.scope and one.call_limits and one.token_limits for one in read.grants.values())


def _values(most: int) -> st.SearchStrategy[object]:
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(_ODD)
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=most,
    )


_FIELDS = {
    "keys": ["openai"],
    "issuers": ["preset", "url", "audience", "algorithms", "jwks", "max_lifetime", "single_use"],
    "grants": ["key", "to", "scope", "quota", "models", "source_ips", "ttl", "total"],
}


def read_any_values(data: st.DataObject, most: int) -> None:
    """Read a file with any values of at most so many leaves in the places of good ones."""
    values = _values(most)

    def entry(fields: list[str]) -> dict[str, object]:
        return data.draw(st.dictionaries(st.sampled_from(fields), values, max_size=4))

    to = data.draw(st.dictionaries(st.sampled_from(["issuer", "claims", "aws", "via"]), values))
    whole = {
        "keys": {"openai": data.draw(st.just({"provider": "openai"}) | values)},
        "issuers": {"a": entry(_FIELDS["issuers"])},
        "grants": {"a": {**entry(_FIELDS["grants"]), "to": to}},
    }
    read_or_refused(json.dumps(whole))


@settings(max_examples=60)
@given(st.data())
def test_any_values(data: st.DataObject) -> None:
    """Whatever stands in the place of a good value, the file is read or refused with faults."""
    read_any_values(data, 4)


@pytest.mark.slow
@given(st.data())
def test_any_large_values(data: st.DataObject) -> None:
    """The same with values as large as there is time for."""
    read_any_values(data, 100)
