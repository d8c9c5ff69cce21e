"""cfn-lint and checkov over everything that `make package` built; what checkov finds is answered here, finding by finding."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from infra import package
from tests.running import ROOT

CFN_LINT = ROOT / ".venv-infra" / "bin" / "cfn-lint"
CHECKOV = ROOT / ".venv-checkov" / "bin" / "checkov"
DIST = ROOT / "dist"
TEMPLATES = (
    *(DIST / f"{name}.yaml" for name in package.UNCHANGED),
    *(DIST / name / "sam.yaml" for name in ("public", "admin")),
    DIST / "edge" / "edge.yaml",
    *(DIST / f"{name}.yaml" for name in package.OF_FUNCTIONS),
)

_FUNCTION = {
    "CKV_AWS_116": "a dead-letter queue is for asynchronous events; each of these has a caller who waits",
    "CKV_AWS_117": "in a VPC it would need endpoints and a NAT to reach what it reaches by IAM and TLS anyway",
}
_DOOR = {
    **_FUNCTION,
    "CKV_AWS_173": "its variables are names and URLs; there is no secret in them (test_templates.py)",
    "CKV_AWS_73": "X-Ray costs half a second of each cold start, and its traces would hold request paths",
    "CKV_AWS_120": "a cached response would be another caller's token",
}
ANSWERED: Mapping[str, Mapping[str, str]] = {
    "artefacts": {"CKV_AWS_18": "it holds zips that anybody can build again from the source"},
    "logs": {
        "CKV_AWS_158": "lines hold ids and fixed words (test_canary.py), and are encrypted by CloudWatch's own key"
    },
    "watch": {
        "CKV_AWS_26": "EventBridge cannot publish under SNS's own key; what is told is who changed which function, role or key"
    },
    "gateway": {
        "CKV_AWS_158": "as for the other log groups",
        "CKV_AWS_91": "a request line may hold a token (?key=); refusals are log lines, calls are counted",
    },
    "public": {
        **_DOOR,
        "CKV_AWS_76": "it needs a role set for the whole account and region; each refusal and each token is a log line",
        "CKV_AWS_192": "there is no Java; the web ACL counts requests of an address and inspects nothing",
    },
    "admin": _DOOR,
    "audit": {
        **_FUNCTION,
        "CKV_AWS_115": "one run at a time does no harm to another: each digest and each cursor is a conditional write",
        "CKV_AWS_158": "as for the other log groups: lines hold counts and fixed words",
        "CKV_AWS_173": "its variables are names; there is no secret in them",
    },
    # Its function is off by default, so checkov does not look at it: it is as the audit's.
    "probe": {"CKV_AWS_158": "as for the other log groups: lines hold results and fixed words"},
    "minter": {"CKV_AWS_158": "as for the other log groups: lines hold keys' names and fixed words"},
    "edge": {
        **_FUNCTION,
        "CKV_AWS_115": "Lambda@Edge runs copies in every region, and a reservation holds for one; callers have quotas",
        "CKV_AWS_86": "refusals are log lines, calls are counted; a log of every call would cost more than the call",
        "CKV_AWS_174": "with a domain of one's own it is TLSv1.2_2021; CloudFront's own address can't be told",
    },
}
"""By template: checks that fail, and why that is so. One that does not fail any more is a fault, too."""


def name_of(template: Path) -> str:
    """Return what a template is called in infra/."""
    return template.parent.name if template.stem == "sam" else template.stem


def main() -> int:
    """Check, and say what was found."""
    if not all(path.exists() for path in TEMPLATES):
        sys.stderr.write("error: nothing is built: make package\n")
        return 1
    linted = subprocess.run([CFN_LINT, *TEMPLATES], check=False).returncode
    faults = [fault for template in TEMPLATES for fault in _faults(template)]
    for fault in faults:
        sys.stderr.write(f"{fault}\n")
    if linted or faults:
        return 1
    answered = sum(map(len, ANSWERED.values()))
    sys.stdout.write(f"cfn-lint: {len(TEMPLATES)} templates, nothing found\n")
    sys.stdout.write(f"checkov: nothing found but {answered} that are answered in {Path(__file__).relative_to(ROOT)}\n")
    return 0


def _faults(template: Path) -> Iterator[str]:
    command = [str(CHECKOV), "--file", str(template), "--framework", "cloudformation", "--output", "json", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    found = json.loads(done.stdout)
    failed = {(one["check_id"], one["resource"]): one["check_name"] for one in found["results"]["failed_checks"]}
    answers = ANSWERED.get(name_of(template), {})
    for (check, resource), said in failed.items():
        if check not in answers:
            yield f"{name_of(template)}: {resource}: {check}: {said}"
    for check in answers.keys() - {check for check, _ in failed}:
        yield f"{name_of(template)}: {check} is answered and does not fail"


if __name__ == "__main__":
    sys.exit(main())
