"""What a security engineer looks at, on terminals of 80 and 120 columns: it fits, and says what it is about."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.keybroker.cli import terminal
from tests.keybroker.cli.keybroker_command import administrator, run
from tests.running import POLICY, Running, start

REPOSITORIES = [str(number) for number in range(123456001, 123456008)]
SOME = POLICY.replace(
    'claims: {repository_owner_id: "9919"}}',
    f'claims: {{repository_owner_id: "9919", repository_id: {REPOSITORIES}, ref: refs/heads/main}}}}',
    1,
)
pytestmark = pytest.mark.slow
WIDTHS = pytest.mark.parametrize("columns", [80, 120])


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A broker over a policy that names seven repositories, each of which got a token; one was revoked."""
    with start(directory=tmp_path_factory.mktemp("state"), policy=SOME) as running:
        for id_ in REPOSITORIES:
            subject = running.mint(id_, repository=f"octo-org/service-{id_[-1]}", ref="refs/heads/main")
            assert running.exchange(subject).status == 200
        running.revoke("principal", running.sub(REPOSITORIES[2]), reason="calls at 3 at night")
        yield running


def shown(running: Running, columns: int, *arguments: str) -> list[str]:
    environ = {**administrator(running), "COLUMNS": str(columns), "NO_COLOR": "1"}
    code, text = terminal.run(*arguments, environ=environ)
    assert code == 0, text
    return text.replace("\r", "").splitlines()


@WIDTHS
def test_whom_a_revocation_concerned_is_read(used: Running, columns: int) -> None:
    """The audit says whom a revocation concerned, in one line; its own id is where there is room for all."""
    lines = shown(used, columns, "audit", "--limit", "5")
    assert max(map(len, lines)) <= columns
    assert len(lines) == 6
    assert "principal repository_id:123456003:" in lines[1]
    piped = run("audit", "--kind", "revocation.made", environ=administrator(used)).out
    assert f"principal {used.sub(REPOSITORIES[2])}: calls at 3 at night (revocation " in piped


@WIDTHS
def test_what_comes_is_shown_in_lines(used: Running, columns: int) -> None:
    """Events that are followed have one line each, aligned below the headings."""
    environ = {**administrator(used), "COLUMNS": str(columns), "NO_COLOR": "1"}
    follow = ("audit", "--follow", "--since", "1h")
    code, text = terminal.run(*follow, environ=environ, typed={"principal repo": terminal.CTRL_C})
    lines = text.replace("\r", "").replace("^C", "").splitlines()
    heading, *events = [line for line in lines if line.strip()]
    assert (code, heading.split()[:3]) == (130, ["AT", "KIND", "WHO"])
    events = events[:10]
    assert max(map(len, events)) <= columns
    assert {line[heading.index("KIND") - 1] for line in events} == {" "}
    assert any("principal repository_id:123456003" in line for line in lines)


@WIDTHS
def test_who_could_use_a_key_is_read_whole(used: Running, columns: int) -> None:
    """Of a grant every claim with every value and the whole scope are shown."""
    lines = shown(used, columns, "policy", "show", "--key", "openai")[1:]
    text = " ".join(" ".join(lines).split())
    assert f"repository_id={' or '.join(REPOSITORIES)}" in text
    assert "GET:/v1/models/*" in text
    assert "…" not in text
    assert max(map(len, lines)) <= columns


@WIDTHS
def test_names_are_read_whole(used: Running, columns: int) -> None:
    """Usage shows names whole, and what is the same in every row once, above."""
    first, *rows = shown(used, columns, "usage")[:-1]
    assert first == "grant ci, key openai"
    assert [line.split()[0] for line in sorted(rows[1:])] == [f"octo-org/service-{id_[-1]}" for id_ in REPOSITORIES]
    assert max(map(len, rows)) <= columns
    piped = run("usage", environ=administrator(used)).out.splitlines()
    assert piped[0].split()[:4] == ["NAME", "PRINCIPAL", "GRANT", "KEY"]


@WIDTHS
def test_a_signing_key_can_be_named_as_shown(used: Running, columns: int) -> None:
    """A kid is taken as a table shows it, cut or not; one that none fits is refused here."""
    environ = administrator(used)
    kid = shown(used, columns, "signing", "list")[1].split()[0]
    cut = f"{kid[:9]}…{kid[-9:]}"
    for named in (kid, cut):
        done = run("signing", "activate", "--dry-run", "--", named, environ=environ)
        assert (done.code, done.err.startswith("dry run: ")) == (0, True), done
        assert "…" not in done.err
    unknown = run("signing", "taint", "nope…nope", "--reason", "a drill", environ=environ)
    assert (unknown.code, "is none of the signing keys" in unknown.err) == (1, True)
