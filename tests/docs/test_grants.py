"""docs/grants.md is true: each example parses and lints as it says, and claims get the answer that it gives."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from chalicelib.issuers.presets import PRESETS
from chalicelib.models import worst_case
from chalicelib.models.body import CallBody
from chalicelib.policy import compile as policy
from chalicelib.policy import explain, lint
from chalicelib.policy.compile import InstallationRules, InvalidPolicyError, Policy
from chalicelib.policy.lint import RULES
from local import policy_command
from tests.issuer_table import TABLES
from tests.provider_table import page

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "grants.md").read_text()
KEYS = "keys: {openai: {provider: openai}}\n"


@dataclass(frozen=True)
class Example:
    """A fenced block. before: the paragraph above it. policy: the YAML block above it, or itself."""

    section: str
    before: str
    language: str
    body: str
    policy: str


def _examples() -> list[Example]:
    found: list[Example] = []
    section = text = policy_text = ""
    for piece in re.split(r"^(```\w+\n.*?^```)$", PAGE, flags=re.MULTILINE | re.DOTALL):
        if not piece.startswith("```"):
            section = (re.findall(r"^#+ (.+)$", piece, re.MULTILINE) or [section])[-1]
            text = re.sub(r"\s+", " ", piece.strip().rpartition("\n\n")[2])
            continue
        language, _, body = piece[3:-3].partition("\n")
        policy_text = body if language == "yaml" else policy_text
        found.append(Example(section, text, language, body, policy_text))
        text = ""
    return found


EXAMPLES = _examples()
POLICIES = [one for one in EXAMPLES if one.language == "yaml" and "does not parse" not in one.before]
CLAIMS = [one for one in EXAMPLES if one.language == "json" and "Version" not in one.body]


def _name(one: Example) -> str:
    return f"{one.section}: {one.before[-40:]}"


def _parsed(text: str) -> Policy:
    return policy.parse(text if "keys:" in text else KEYS + text, rules=InstallationRules(PRESETS, sees_answers=True))


def test_examples_are_found() -> None:
    """The page's examples are found, so that the tests below test something."""
    assert len(POLICIES) >= 25
    assert len(CLAIMS) >= 15
    assert {one.language for one in EXAMPLES} == {"yaml", "json", "text"}


@pytest.mark.parametrize("one", POLICIES, ids=_name)
def test_policy_example(one: Example) -> None:
    """A policy of the page parses, and lints as the text above it says."""
    told = {finding.rule for finding in lint.lint(_parsed(one.body), PRESETS)}
    assert told == set(re.findall(r"Lints as `([\w-]+)`", one.before))


@pytest.mark.parametrize("one", CLAIMS, ids=_name)
def test_claims_example(one: Example) -> None:
    """Claims of the page are admitted, refused or unusable as the text above them says."""
    told = explain.explain(_parsed(one.policy), json.loads(one.body))
    last = re.split(r"(?=Admitted by|Refused, for|Unusable, for)", one.before)[-1]
    names = re.findall(r"`([^`]+)`", last)
    assert names
    if last.startswith("Admitted"):
        assert list(told.admitted) == names
    elif last.startswith("Refused"):
        assert (told.unusable, told.admitted) == ("", ())
        nearest = min(told.verdicts, key=lambda verdict: len(verdict.differences))
        assert {".".join(each.claim) for each in nearest.differences} == set(names)
    else:
        assert last.startswith("Unusable")
        assert names[0] in told.unusable
        assert told.admitted == ()


def test_fault_example() -> None:
    """The faults that the page shows are those of the policy above them."""
    (wrong,) = [one for one in EXAMPLES if "does not parse" in one.before]
    (told,) = [one for one in EXAMPLES if one.language == "text"]
    with pytest.raises(InvalidPolicyError) as caught:
        policy.parse(wrong.body)
    assert str(caught.value) == told.body.strip()


def test_preset_table() -> None:
    """The table of presets is current; if not, `make issuers` writes it."""
    assert page(PAGE, TABLES) == PAGE


def test_every_preset_has_an_example() -> None:
    """Every preset has an example grant."""
    shown = {issuer.preset for one in POLICIES for issuer in _parsed(one.body).issuers.values()}
    assert shown == {*PRESETS, ""}


def test_refused_values_are_named() -> None:
    """The page names every value that a preset refuses."""
    for preset in PRESETS.values():
        for claim, values in preset.refused:
            for value in values:
                assert f"`{value}`" in PAGE or f"{claim}: {value}" in PAGE or claim.rpartition("/")[2] in PAGE


def test_lint_rules_have_examples() -> None:
    """Every lint rule has its heading, and an example that breaks it."""
    for rule in RULES:
        (first, *_) = [one for one in POLICIES if one.section == rule]
        assert f"Lints as `{rule}`" in first.before


def test_commands_exist() -> None:
    """The commands that the page names exist."""
    source = Path(policy_command.__file__).read_text()
    for verb in set(re.findall(r"python -m local policy (\w+)", PAGE)):
        assert f'"{verb}"' in source


def test_iam_condition() -> None:
    """The IAM policy of the page is JSON and restricts the audience."""
    (one,) = [each for each in EXAMPLES if "Version" in each.body]
    (statement,) = json.loads(one.body)["Statement"]
    assert statement["Condition"]["ForAllValues:StringEquals"] == {"sts:IdentityTokenAudience": ["keybroker"]}


def test_how_far_reservations_hold_back() -> None:
    """What the page says that reservations hold back is what the edge reserves for such a call."""
    prompt = ("The quick brown fox jumps over the lazy dog. " * 100)[:4_000]

    def reserved(**more: int) -> int:
        content = json.dumps({"model": "gpt-5", "messages": [{"role": "user", "content": prompt}], **more}).encode()
        body = CallBody(base64.b64encode(content).decode(), truncated=False, content_types=("application/json",))
        found = worst_case.find("openai", "POST:/v1/chat/completions", body)
        assert found is not None
        return round(found.input + found.output, -2)

    limited, unlimited = reserved(max_tokens=500), reserved()
    told = PAGE.split("**How far it holds back.**")[1].split("\n\n")[0]
    numbers = [int(one.replace(",", "")) for one in re.findall(r"\d[\d,]*\d|\d", told)]
    assert {500, limited, 200_000, 200_000 // limited, unlimited} <= set(numbers)
