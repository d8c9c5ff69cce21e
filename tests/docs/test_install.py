"""Keybroker is installed by one line wherever it stands: by an address, never by its name, which no index has given us."""

from __future__ import annotations

import re

import pytest

from keybroker.cli.ci_workflow import NO_ACTION
from tests.offline_pip import LINE, SERVER
from tests.running import ROOT

FILES = sorted(
    str(path.relative_to(ROOT))
    for pattern in (
        "*.md",
        "action.yml",
        "docs/**/*",
        "ci/**/*",
        "keybroker/**/*",
        "local/**/*",
        "infra/**/*",
        "tests/**/transcripts/*",
    )
    for path in ROOT.glob(pattern)
    if path.is_file() and path.suffix in {".md", ".yml", ".yaml", ".py", ".json", ".toml", ".txt", ".cjs", ".sh"}
)
INSTALLS = re.compile(
    r"(?:\bpip3? install|\bpipx|\buvx|\buv (?:add|tool|pip)|\bpoetry add)\b.*(?:keybroker| ['\"]?\.(?:\[|['\"`]|$)).*",
    re.MULTILINE,
)
USES = re.compile(r"uses: .*/keybroker@.*")


def lines(name: str) -> list[str]:
    """Return the lines of a file that install Keybroker. In Buildkite's file `$$` is what the shell reads as `$`."""
    text = (ROOT / name).read_text().replace("$$", "$")
    return [found[0] for found in INSTALLS.finditer(text)]


def is_the_one(line: str) -> bool:
    """Whether the line installs Keybroker by LINE or SERVER alone; in a sentence or a message there are words around it."""
    return any(one in line and not INSTALLS.search(line.replace(one, "")) for one in (LINE, SERVER))


def test_every_install_line_is_the_one() -> None:
    """Every line that installs Keybroker is the one line, on pages, in snippets, in messages and in transcripts."""
    found = [(name, line) for name in FILES for line in lines(name)]
    assert [one for one in found if not is_the_one(one[1])] == []


def test_the_line_stands_where_users_look() -> None:
    """The README, the pages and each CI snippet have the line."""
    expected = {
        *("README.md", "docs/quickstart.md", "docs/library.md", "docs/cli.md", "docs/ci.md"),
        *("ci/gitlab.yml", "ci/circleci.yml", "ci/buildkite.yml", "ci/bitbucket.yml", "keybroker/cli/ci_workflow.py"),
    }
    assert expected <= {name for name in FILES if lines(name)}


def test_the_action_has_no_address_of_a_stranger() -> None:
    """No file uses the Action by an address that a stranger can register."""
    found = [(name, line) for name in FILES for line in USES.findall((ROOT / name).read_text())]
    assert ("docs/ci.md", f"uses: {NO_ACTION}") in found
    assert [one for one in found if not one[1].startswith(f"uses: {NO_ACTION}")] == []


@pytest.mark.parametrize(
    "line",
    [
        *(
            "pip install keybroker",
            "python3 -m pip install --quiet 'keybroker[cli]'",
            "pip install '.[cli]'",
            "pip install .",
        ),
        *("pipx install 'keybroker[cli]'", "uv tool install keybroker", "uvx keybroker token"),
        f"{LINE} or pip install keybroker",
    ],
)
def test_another_line_is_found(line: str) -> None:
    """The patterns above find what they are there to find."""
    found = INSTALLS.search(f"Run `{line}` first.")
    assert found
    assert not is_the_one(found[0])


def test_packages_that_messages_name_are_those_of_the_wheel() -> None:
    """A message about a missing package says the version that pyproject.toml asks for."""
    wanted = (ROOT / "pyproject.toml").read_text()
    said = "".join((ROOT / name).read_text() for name in FILES if name.startswith("keybroker/"))
    packages = {
        one for found in re.findall(r"pip install ('[^\"\\]*')", said) for one in re.findall(r"'([^']+)'", found)
    }
    assert packages == {"botocore>=1.44,<2", "click>=8.5,<9", "jinja2>=3.1.6,<4"}
    assert [one for one in packages if f'"{one}"' not in wanted] == []
