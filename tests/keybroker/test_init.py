"""What `import keybroker` offers, and what it costs a program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import keybroker
from tests.running import ROOT


def test_every_public_name_can_be_imported() -> None:
    """Every public name can be imported, and is listed."""
    for name in keybroker.__all__:
        assert getattr(keybroker, name) is not None
        assert name in dir(keybroker)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = keybroker.nothing


def test_it_imports_no_other_package() -> None:
    """A program that uses the provider imports no SDK and no other package."""
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r});"
        "import keybroker; keybroker.TokenProvider('openai', 'https://broker.example.com').async_();"
        "import keybroker.ambient, keybroker.client;"
        "print(sorted({name.split('.')[0] for name in sys.modules} - {'keybroker', '__main__'} - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("does", "without"),
    [
        ("import keybroker", {"dataclasses", "threading", "logging", "http.client", "ssl", "asyncio"}),
        ("import keybroker; keybroker.TokenProvider('k', 'https://b.example')", {"http.client", "ssl", "asyncio"}),
        ("import keybroker.fetch", {"asyncio", "subprocess", "urllib.request", "keybroker.aws"}),
    ],
)
def test_imports_are_deferred(does: str, without: set[str]) -> None:
    """A program does not wait for an import that it does not need yet."""
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {does}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert set(done.stdout.split()) & without == set()


PROGRAM = """
import anthropic
import httpx
import openai

from keybroker import Token, TokenProvider

provider = TokenProvider("openai", grant="ci")
client = openai.OpenAI(api_key=provider, base_url=provider.base_url)
later = openai.AsyncOpenAI(api_key=provider.async_(), base_url=provider.base_url)
claude = anthropic.Anthropic(credentials=provider.anthropic(), base_url=provider.base_url)
plain = httpx.Client(auth=provider.httpx_auth())
token: Token = provider.token()
text: str = provider()
wrong: int = provider()
"""


@pytest.mark.slow
def test_its_types_check_programs(tmp_path: Path) -> None:
    """A program that uses the provider is checked by its types."""
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "--config-file",
        "",
        str(tmp_path / "program.py"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    lines = [line for line in done.stdout.splitlines() if "error" in line]
    assert [line.partition("error: ")[2] for line in lines] == [
        'Incompatible types in assignment (expression has type "str", variable has type "int")  [assignment]'
    ], done.stdout
