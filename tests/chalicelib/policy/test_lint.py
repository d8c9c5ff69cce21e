"""Lint: each rule finds what it is for, at its line, and nothing else; and ten thousand grants take seconds."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chalicelib.issuers.presets import PRESETS
from chalicelib.policy import compile as policy
from chalicelib.policy import lint
from chalicelib.policy.accepted_values import AcceptedValues, Contains
from chalicelib.policy.compile import Policy
from chalicelib.policy.coverage import covers
from chalicelib.policy.grants import Grant
from chalicelib.policy.lint import RULES, Finding
from chalicelib.policy.yaml_nodes import Document, MappingNode
from chalicelib.providers.federated import FEDERATED
from chalicelib.quota import Limit

DOCS = Path(__file__).resolve().parents[3] / "docs" / "grants.md"
ISSUERS = """\
keys: {openai: {provider: openai}, internal: {provider: generic}, azure: {provider: azure-openai}, xai: {provider: xai}}
issuers:
  github: {preset: github-actions, audience: keybroker}
  ghes: {preset: github-actions, url: https://github.example.com/_services/token, audience: keybroker}
  gitlab: {preset: gitlab, audience: keybroker}
  circleci: {preset: circleci, url: https://oidc.circleci.com, audience: keybroker}
  buildkite: {preset: buildkite, audience: keybroker}
  bitbucket: {preset: bitbucket, url: https://api.bitbucket.org/2.0/workspaces/a/pipelines-config/identity/oidc, audience: x}
  entra: {preset: azure-devops-entra, url: https://login.microsoftonline.com/t/v2.0}
  terraform: {preset: hcp-terraform, audience: keybroker}
  k8s: {preset: kubernetes, url: https://k8s.example.com, audience: keybroker}
  google: {preset: google, audience: keybroker}
  azure: {preset: azure-managed-identity, url: https://sts.windows.net/t/, audience: keybroker}
  vercel: {preset: vercel, url: https://oidc.vercel.com, audience: keybroker}
  aws: {preset: aws-web-identity, url: https://u.tokens.sts.global.api.aws, audience: keybroker}
  own: {url: https://idp.example.com, audience: keybroker}
grants:
"""
EMPTY = Document("k.yaml", MappingNode(1, {}, 0), ())
TO_LINE = len(ISSUERS.splitlines()) + 3
ROLE = "arn:aws:iam::123456789012:role"


def grant(to: str, name: str = "app", **changes: str) -> str:
    """Write a grant; `to` is on its third line."""
    fields = {
        "key": "openai",
        "to": to,
        "scope": '["POST:/v1/responses", "GET:/v1/models/*"]',
        "quota": "{tokens: 30/hour, calls: 60/minute}",
        **changes,
    }
    return f"  {name}:\n" + "".join(f"    {field}: {value}\n" for field, value in fields.items())


def found(*grants: str, allowed: tuple[str, ...] = ()) -> list[tuple[str, int, str]]:
    """Lint some grants; return rule, line and field of each finding."""
    parsed = policy.parse(ISSUERS + "".join(grants), "k.yaml")
    return [(one.rule, one.line, one.field) for one in lint.lint(parsed, PRESETS, allowed)]


def claims(issuer: str, written: str) -> str:
    return f"{{issuer: {issuer}, claims: {{{written}}}}}"


# unpinned


@pytest.mark.parametrize(
    ("issuer", "names", "ids"),
    [
        ("github", "repository: octo-org/app, ref: refs/heads/main", 'repository_id: "1"'),
        ("github", "repository_owner: octo-org", 'repository_owner_id: "9919"'),
        ("ghes", "repository: octo-org/app", 'repository_id: "1"'),
        ("gitlab", "ref_path: refs/heads/main", 'project_id: "20"'),
        ("gitlab", 'ref_protected: "true"', 'namespace_id: "72"'),
        ("circleci", "oidc.circleci.com/vcs-origin: github.com/o/r", "oidc.circleci.com/org-id: a64b0a19"),
        ("buildkite", "build_branch: main", "pipeline_id: 0184990a"),
        ("bitbucket", "branchName: main", 'repositoryUuid: "{2e9e429c}"'),
        ("entra", "tid: ff882432", "sub: /eid1/c/pub"),
        ("terraform", "terraform_run_phase: apply", "terraform_workspace_id: ws-1"),
        ("k8s", "aud: keybroker", "[kubernetes.io, namespace]: prod"),
        ("k8s", '"kubernetes.io.namespace": prod', "sub: system:serviceaccount:prod:api"),
        ("google", "azp: x", 'sub: "112179062720391305885"'),
        ("azure", "idtyp: app", "oid: 644d9b8a"),
        ("vercel", "environment: production", "project_id: prj_1"),
    ],
)
def test_unpinned(issuer: str, names: str, ids: str) -> None:
    """A grant must pin an id of its issuer that is never recycled."""
    assert found(grant(claims(issuer, names))) == [("unpinned", TO_LINE, "grants.app.to.claims")]
    assert found(grant(claims(issuer, f"{names}, {ids}"))) == []


def test_a_pattern_pins_nothing() -> None:
    assert found(grant(claims("k8s", "sub: system:serviceaccount:prod:*")))[0][0] == "unpinned"
    assert found(grant(claims("k8s", "sub: [system:serviceaccount:prod:api, system:serviceaccount:prod:*]"))) != []
    assert found(grant(claims("k8s", "sub: [system:serviceaccount:prod:api, system:serviceaccount:prod:web]"))) == []


def test_generic_issuer_needs_no_pin() -> None:
    """Nothing is known to be pinned at an issuer without a preset."""
    assert found(grant(claims("own", "azp: nightly-report"))) == []


# github-sub and unwise-claim


@pytest.mark.parametrize("issuer", ["github", "ghes"])
def test_github_sub(issuer: str) -> None:
    """A match on GitHub's `sub` is found."""
    to = claims(issuer, 'repository_id: "1", sub: "repo:octo-org/app:ref:refs/heads/main"')
    assert found(grant(to)) == [("github-sub", TO_LINE, "grants.app.to.claims.sub")]


@pytest.mark.parametrize(
    ("issuer", "written", "claim"),
    [
        ("gitlab", 'project_id: "20", sub: x', "sub"),
        ("gitlab", 'project_id: "20", project_path: g/p', "project_path"),
        ("gitlab", 'project_id: "20", namespace_path: g', "namespace_path"),
        ("circleci", "oidc.circleci.com/project-id: x, sub: y", "sub"),
        ("buildkite", "pipeline_id: x, pipeline_slug: y", "pipeline_slug"),
        ("bitbucket", "repositoryUuid: x, sub: y", "sub"),
        ("entra", "sub: x, oid: y", "oid"),
        ("terraform", "terraform_workspace_id: x, terraform_workspace_name: y", "terraform_workspace_name"),
        ("google", "sub: x, email: y", "email"),
        ("azure", "oid: x, sub: y", "sub"),
        ("vercel", "project_id: x, sub: y", "sub"),
    ],
)
def test_unwise_claims(issuer: str, written: str, claim: str) -> None:
    """A match on names, or on parts that change with every run, is found."""
    assert found(grant(claims(issuer, written))) == [("unwise-claim", TO_LINE, f"grants.app.to.claims.{claim}")]


def test_nested_claim_is_another() -> None:
    """A nested claim of the same name is another claim."""
    assert found(grant(claims("github", 'repository_id: "1", [a, sub]: x'))) == []
    assert found(grant(claims("github", 'repository_id: "1", [sub]: x')))[0][0] == "github-sub"


# list-claim


@pytest.mark.parametrize(
    ("issuer", "written", "claim"),
    [
        ("own", "sub: u1, [realm_access, roles]: reporter", '["realm_access", "roles"]'),
        ("own", "sub: u1, [resource_access, app, roles]: [a, b]", '["resource_access", "app", "roles"]'),
        ("own", "sub: u1, groups: ops", "groups"),
        ("own", "sub: u1, roles: ops", "roles"),
        ("azure", "oid: x, groups: 644d9b8a", "groups"),
        (
            "circleci",
            "oidc.circleci.com/project-id: x, oidc.circleci.com/context-ids: y",
            "oidc.circleci.com/context-ids",
        ),
        ("gitlab", 'project_id: "20", groups_direct: acme/ops', "groups_direct"),
        ("github", 'repository_id: "1", ref: {contains: main}', "ref"),
        ("github", 'repository_owner_id: "1", repository_id: {contains: "1"}', "repository_id"),
        ("k8s", "sub: x, [kubernetes.io, namespace]: {contains: prod}", '["kubernetes.io", "namespace"]'),
        ("own", "azp: x, sub: {contains: [u1, u2]}", "sub"),
    ],
)
def test_list_claims(issuer: str, written: str, claim: str) -> None:
    """A value for a claim that is a list, and `contains` for one that never is, are found: neither can match."""
    assert ("list-claim", TO_LINE, f"grants.app.to.claims.{claim}") in found(grant(claims(issuer, written)))


@pytest.mark.parametrize(
    ("issuer", "written"),
    [
        ("own", "sub: u1, [realm_access, roles]: {contains: reporter}"),
        ("own", "sub: u1, groups: [ops, {contains: ops}]"),
        ("own", "sub: u1, [realm_access, role]: reporter"),
        ("own", "sub: u1, [groups, name]: reporter"),
        ("own", "sub: u1, teams: {contains: ops}"),
        ("own", "sub: u1, teams: ops"),
        ("azure", "oid: x, groups: {contains: 644d9b8a}"),
        ("circleci", "oidc.circleci.com/project-id: x, oidc.circleci.com/context-ids: {contains: y}"),
        ("github", 'repository_id: "1", ref: [main, {contains: main}], groups: x'),
    ],
)
def test_lists_and_values_in_their_places(issuer: str, written: str) -> None:
    """Where a list may be a list, and a value a value, nothing is found."""
    assert found(grant(claims(issuer, written))) == []


def test_an_element_pins_nothing() -> None:
    """An id that a list has to contain is no pinned id."""
    assert "unpinned" in {one[0] for one in found(grant(claims("github", 'repository_id: {contains: "1"}, ref: x')))}


# web-socket


@pytest.mark.parametrize(
    ("key", "scope", "line"),
    [
        ("openai", '["POST:/v1/responses", "GET:/v1/realtime"]', 1),
        ("openai", '["GET:/v1/realtime", "WEBSOCKET:/v1/responses"]', 0),
        ("azure", '["GET:/openai/v1/realtime"]', 0),
        ("xai", '["GET:/v1/realtime"]', 0),
    ],
)
def test_a_path_of_web_sockets(key: str, scope: str, line: int) -> None:
    """GET at a path that answers as a WebSocket alone opens nothing, and once opened that."""
    rule, _, field = found(grant(claims("own", "sub: u1"), key=key, scope=scope))[0]
    assert (rule, field) == ("web-socket", f"grants.app.scope.{line}")


@pytest.mark.parametrize(
    ("key", "scope"),
    [
        ("openai", '["WEBSOCKET:/v1/realtime"]'),
        ("openai", '["GET:/v1/realtime", "WEBSOCKET:/v1/*"]'),
        ("openai", '["GET:/v1/*", "GET:/v1/realtime/calls"]'),
        ("internal", '["GET:/v1/realtime"]'),
    ],
)
def test_scopes_that_open_what_they_say(key: str, scope: str) -> None:
    """The word beside or in place of GET, a pattern for reading, and paths of which nothing is known are fine."""
    assert found(grant(claims("own", "sub: u1"), key=key, scope=scope)) == []


# federated keys


def test_two_keys_of_one_account() -> None:
    """Keys of the same account are found, each but the first; the identity under which they ask does not matter."""
    ids = "identity_provider: idp_1, service_account: svc_acct_1"
    keys = f"""keys:
  a: {{provider: openai, federated: {{{ids}}}}}
  b: {{provider: openai, federated: {{{ids.replace("acct_1", "acct_2")}}}}}
  c: {{provider: openai, federated: {{{ids}, identity: aws-sts}}}}
"""
    text = keys + ISSUERS.partition("\n")[2] + grant(claims("own", "sub: u1"), key="a")
    findings = lint.lint(policy.parse(text), PRESETS)
    assert [(one.rule, one.line, one.field) for one in findings] == [("shared-account", 4, "keys.c.federated")]


UUID = "00000000-0000-4000-8000-000000000000"
POOL = "project_number: '123456', pool: pool, pool_provider: broker"
APP = f"tenant: {UUID}, client: {UUID}"


@pytest.mark.parametrize(
    ("provider", "first", "second", "is_one"),
    [
        ("anthropic", "rule: fdrl_a, service_account: svac_1", "rule: fdrl_b, service_account: svac_1", True),
        ("anthropic", "rule: fdrl_a, service_account: svac_1", "rule: fdrl_a, service_account: svac_2", False),
        ("openai", "identity_provider: idp_1", "identity_provider: idp_2", True),
        ("openrouter", f"policy: {UUID}", f"policy: {UUID}", True),
        ("gemini", f"{POOL}, service_account: a@p.iam.gserviceaccount.com", f"{POOL}, quota_project: p-project", False),
        ("gemini", POOL, POOL, True),
        ("azure-openai", f"{APP}, resource: a", f"{APP}, resource: a", True),
        ("azure-openai", f"{APP}, resource: a", f"{APP}, resource: b", False),
        ("bedrock", "region: eu-west-1", "region: eu-west-1", True),
        ("bedrock", "region: eu-west-1", "region: eu-west-1, role: 'arn:aws:iam::123456789012:role/x'", False),
        ("github-app", "client: Iv1, installation: '5'", "client: Iv2, installation: '5'", True),
    ],
)
def test_what_is_one_account(provider: str, first: str, second: str, is_one: bool) -> None:  # noqa: FBT001  a table
    """Two keys are of one account if their provider's log and bill show them as the same caller, whatever else they name."""
    more = {"anthropic": f", organization: {UUID}", "openai": ", service_account: svc_acct_1"}.get(provider, "")
    keys = "".join(
        f"  {name}: {{provider: {provider}, federated: {{{ids}{more}}}}}\n"
        for name, ids in (("k1", first), ("k2", second))
    )
    text = f"keys:\n{keys}" + ISSUERS.partition("\n")[2] + grant(claims("own", "sub: u1"), key="k1", scope='["GET:/x"]')
    findings = lint.lint(policy.parse(text), PRESETS)
    assert [(one.rule, one.field) for one in findings] == [("shared-account", "keys.k2.federated")] * is_one


def test_every_account_has_a_name() -> None:
    """Of every provider it is known which of its ids name the account."""
    for kind in FEDERATED.values():
        assert kind.account
        assert set(kind.account) <= {*kind.required, *kind.optional}


@pytest.mark.parametrize("count", [20, 21])
def test_a_full_account(count: int) -> None:
    """More keys than the provider takes for one account are found."""
    app = "00000000-0000-0000-0000-000000000000"
    keys = "".join(
        f"  k{number}: {{provider: azure-openai, federated: {{tenant: {app}, client: {app}, resource: r{number}}}}}\n"
        for number in range(count)
    )
    text = (
        f"keys:\n{keys}"
        + ISSUERS.partition("\n")[2]
        + grant(claims("own", "sub: u1"), key="k0", scope='["POST:/openai/v1/responses"]')
    )
    assert [one.rule for one in lint.lint(policy.parse(text), PRESETS)] == ["shared-account"] * (count - 20)


# any-role


@pytest.mark.parametrize("name", ["role/*", "user/*", "user/team/*"])
def test_any_role(name: str) -> None:
    """A pattern for every role of an account is found."""
    arn = f"arn:aws:iam::123456789012:{name}"
    assert found(grant(f'{{aws: "{arn}"}}')) == [("any-role", TO_LINE, "grants.app.to.aws")]


def test_any_role_by_web_identity() -> None:
    """So is one by way of web identity."""
    to = f'{{issuer: aws, aws: "{ROLE}/*", via: web-identity}}'
    assert found(grant(to)) == [("any-role", TO_LINE, "grants.app.to.aws")]


def test_one_role() -> None:
    """One role is fine either way."""
    to = f'{{issuer: aws, aws: "{ROLE}/billing", via: web-identity}}'
    assert found(grant(f'{{aws: "{ROLE}/billing"}}'), grant(to, "web")) == []


def test_star_in_a_claim_named_aws() -> None:
    """A pattern for another issuer's claim named `aws` is not about roles."""
    assert found(grant(claims("own", "aws: x/*"))) == []


# covered

PINNED = claims("github", 'repository_id: "1"')


@pytest.mark.parametrize(
    ("to", "fields"),
    [
        (PINNED, {}),
        (claims("github", 'repository_id: "1", ref: refs/heads/main'), {}),
        (PINNED, {"scope": '["POST:/v1/responses"]'}),
        (PINNED, {"scope": '["GET:/v1/models/gpt-5-mini"]'}),
        (PINNED, {"models": "[gpt-5-mini]"}),
        (PINNED, {"source_ips": "[198.51.100.0/24]"}),
        (PINNED, {"ttl": "1h", "quota": "{tokens: 1/day, calls: 1/day}"}),
    ],
)
def test_covered(to: str, fields: dict[str, str]) -> None:
    """A grant that another one covers is found."""
    covered = found(grant(to, **fields), grant(PINNED, "wide"))
    assert ("covered", TO_LINE - 2, "grants.app") in covered


@pytest.mark.parametrize(
    ("to", "fields"),
    [
        (claims("github", 'repository_id: "2"'), {}),
        (claims("github", 'repository_id: ["1", "2"]'), {}),
        (claims("github", 'repository_owner_id: "1"'), {}),
        (claims("ghes", 'repository_id: "1"'), {}),
        (claims("github", 'repository_id: "1", event_name: [push, workflow_run]'), {}),
        (PINNED, {"key": "internal"}),
        (PINNED, {"scope": '["DELETE:/v1/files/*"]'}),
    ],
)
def test_not_covered(to: str, fields: dict[str, str]) -> None:
    """A grant that allows more in any field is not covered."""
    wide = grant(PINNED, "wide", models="[gpt-5-mini]")
    assert "grants.app" not in {one[2] for one in found(grant(to, **fields), wide)}


def test_fewer_claims_is_not_covered() -> None:
    """A grant with one claim less is wider, so not covered."""
    assert found(grant(claims("github", 'repository_id: "1", actor_id: "5"'), "wide", scope='["GET:/x"]')) == []
    narrow = grant(claims("github", 'repository_id: "1", actor_id: "5"'), "narrow")
    assert [one[2] for one in found(narrow, grant(PINNED))] == ["grants.narrow"]


def test_equal_grants_cover_each_other() -> None:
    """Of two equal grants, each is covered by the other."""
    assert [one[2] for one in found(grant(PINNED), grant(PINNED, "again"))] == ["grants.app", "grants.again"]


def test_finding_names_the_cover() -> None:
    """The finding names the grant that covers."""
    parsed = policy.parse(ISSUERS + grant(PINNED) + grant(PINNED, "wide", models="[gpt-5-mini]"))
    (one,) = lint.lint(parsed, PRESETS)
    assert (one.field, one.text) == ("grants.wide", "grant 'app' admits everything that this one admits")


def slowly(group: list[Grant]) -> set[str]:
    """Compare each with each."""
    return {narrow.name for wide, narrow in itertools.permutations(group, 2) if covers(wide, narrow)}


def test_search_finds_all_covered() -> None:
    """The quick search finds what comparing all pairs finds."""
    base = policy.parse(ISSUERS + grant(PINNED)).grants["app"]
    values: list[AcceptedValues] = [
        ("a",),
        ("b",),
        ("a", "b"),
        ("a/b",),
        ("a/*",),
        ("a/*", "b"),
        ("*/b",),
        (True,),
        (1,),
        ("1",),
        ("a/b/c",),
    ]
    values += [("a/b*",), ("a/bc*", "a"), ("a/bcd",), ("a/*/c*",), ("a/b/cd*",)]
    values += [(Contains("a"),), (Contains("a/*"),), (Contains("a/b*"), "a"), (Contains(1),), (Contains(value=True),)]
    paths = [("x",), ("y",)]
    some = [tuple(zip(paths, pair, strict=True)) for pair in itertools.product(values, values[::2])]
    some += [((path, one),) for path in paths for one in values]
    scopes = [("GET:/a",), ("GET:/*",), ("GET:/a", "POST:/b")]
    for scope_of in (lambda _: scopes[0], lambda number: scopes[number % 3]):
        group = [
            base._replace(name=f"g{number}", claims=one, scope=scope_of(number), models=[None, ("m",)][number % 2])
            for number, one in enumerate(some)
        ]
        parsed = Policy({}, {}, {one.name: one for one in group}, EMPTY)
        assert {one.field.removeprefix("grants.") for one in lint.lint(parsed, PRESETS)} == slowly(group)


# Rules and what is told


def test_rules_are_documented() -> None:
    """Every rule has a reason, a test here and a section in the documentation."""
    source = Path(__file__).read_text()
    headings = re.findall(r"^### (.+)$", DOCS.read_text(), re.MULTILINE)
    for rule, reason in RULES.items():
        assert len(reason) > 30
        assert f'"{rule}"' in source
        assert rule in headings


def test_allowed_rules() -> None:
    """A rule can be allowed by name, and only that one is skipped."""
    grants = (grant(claims("github", "sub: x, ref: y")),)
    assert {one[0] for one in found(*grants)} == {"unpinned", "github-sub"}
    assert {one[0] for one in found(*grants, allowed=("unpinned",))} == {"github-sub"}
    assert found(*grants, allowed=("unpinned", "github-sub")) == []
    with pytest.raises(KeyError):
        found(*grants, allowed=("everything",))


def test_findings_come_by_line() -> None:
    grants = [grant(claims("github", "ref: x"), f"g{number}") for number in (3, 1, 2)]
    lines = [one[1] for one in found(*grants)]
    assert lines == sorted(lines)
    assert len(lines) >= 3


def test_finding_as_text_and_json() -> None:
    """A finding reads `file:line: field: text [rule]`."""
    one = Finding("unpinned", "k.yaml", 7, "grants.app.to.claims", "pin repository_id")
    assert str(one) == "k.yaml:7: grants.app.to.claims: pin repository_id [unpinned]"
    assert one.to_json()["rule"] == "unpinned"


def test_the_text_names_the_ids_to_pin() -> None:
    """The text names the ids to pin."""
    parsed = policy.parse(ISSUERS + grant(claims("github", "ref: x")))
    (one,) = lint.lint(parsed, PRESETS)
    assert one.text.startswith("pin repository_id or repository_owner_id;")


# Ten thousand

Shape = Callable[[int], dict[str, object]]
SHAPES: dict[str, Shape] = {
    "one repository each": lambda n: {"claims": ((("owner",), ("9919",)), (("id",), (f"{n}",)))},
    "one branch each": lambda n: {"claims": ((("owner",), ("9919",)), (("ref",), (f"refs/heads/b{n}", "refs/tags/*")))},
    "a pattern each": lambda n: {"claims": ((("sub",), (f"system:serviceaccount:ns{n}:*",)),)},
    "a beginning each": lambda n: {"claims": ((("sub",), (f"team:{'x' * (n % 300)}-{n:05}*",)),)},
    "an element each": lambda n: {"claims": ((("groups",), (Contains(f"team-{n}"), Contains("all"))),)},
    "one model each": lambda n: {"claims": ((("owner",), ("9919",)),), "models": (f"m{n}",)},
    "one scope each": lambda n: {"claims": ((("owner",), ("9919",)),), "scope": (f"GET:/v1/files/{n}",)},
    "all the same": lambda _: {"claims": ((("owner",), ("9919",)),)},
    "true and numbers": lambda n: {"claims": ((("n",), (n, True)), (("owner",), ("9919",)))},
    "one wide, all others narrow": lambda n: {
        "claims": ((("owner",), ("9919",)), *(((("id",), (f"{n}",)),) if n else ()))
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_ten_thousand_grants(name: str) -> None:
    """Ten thousand grants of one issuer and key are linted in seconds, whatever they share."""
    base = Grant("g", "openai", "https://idp.example.com", (), ("GET:/x",), 900, (Limit(1, "day"),), ())
    grants = {f"g{n}": base._replace(name=f"g{n}", **SHAPES[name](n)) for n in range(10_000)}  # type: ignore[arg-type]  # Grant's fields
    started = time.process_time()
    told = lint.lint(Policy({"openai": "openai"}, {}, grants, EMPTY), PRESETS)
    assert time.process_time() - started < 5
    expected = {"all the same": 10_000, "one wide, all others narrow": 9_999}
    assert len(told) == expected.get(name, 0)
