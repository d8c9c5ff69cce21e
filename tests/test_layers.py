"""The house's plan: which module may import which, and who alone may do what. Read from the source, not run."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOORS = ("app", "edge", "local")
RINGS = (
    {"aws"},
    {"http", "admin", "openapi"},
    {"exchange", "edge", "rotation", "federation"},
    {"policy"},
    {"issuers"},
    {"tokens", "models", "providers"},
    {
        "audit",
        "budget",
        "duration",
        "patterns",
        "principal",
        "quota",
        "rate_limit",
        "revocation",
        "strict_json",
        "usage",
    },
    {"errors"},
)
"""The rooms of chalicelib, from the outside in: what is in one imports its own ring and those below. The doors are above."""
LEVELS = {room: -level for level, rooms in enumerate(RINGS) for room in rooms}
IO = (
    "chalicelib/aws/",
    "chalicelib/issuers/fetch.py",
    "chalicelib/issuers/jwks.py",
    "chalicelib/issuers/key_probe.py",
)
"""What speaks to the world. All the rest of the broker is pure."""
USES_BOTOCORE = (
    "chalicelib/aws/",
    "local/simulator/sigv4.py",
    "keybroker/aws.py",
    "keybroker/cli/edge_log.py",
    "keybroker/sources/aws_web_identity.py",
)
IMPURE = """asyncio concurrent datetime glob http importlib io logging multiprocessing os pathlib random secrets select
shutil signal socket sqlite3 ssl subprocess sys tempfile threading time urllib.request urllib3 uuid""".split()  # noqa: SIM905  a list of words
IMPURE_CALLS = {"open", "input", "print", "exec", "eval", "__import__"}

FILES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.py", "chalicelib/**/*.py", "local/**/*.py", "keybroker/**/*.py", "infra/**/*.py")
    for path in ROOT.glob(pattern)
)
BROKER = [file for file in FILES if file.startswith("chalicelib/") and file != "chalicelib/__init__.py"]
CLIENT = [file for file in FILES if file.startswith("keybroker/")]


def room(dotted: str) -> str:
    """Return the room that a module of chalicelib is in: its package's name, or its own if it is flat."""
    return dotted.split(".")[1]


@functools.cache
def parsed(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


@functools.cache
def imports(file: str) -> tuple[str, ...]:
    """Return the dotted names that a file imports, anywhere in it: `a.b` for `import a.b` and for `from a import b`."""
    return tuple(_imports(file))


def _imports(file: str) -> Iterator[str]:
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}:{node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_any(file: str, *modules: str) -> list[str]:
    """Return those imports of a file that are one of the modules, or are in one."""
    return [name for name in imports(file) if any(f"{name}.".startswith(f"{module}.") for module in modules)]


@functools.cache
def called(file: str) -> tuple[str, ...]:
    """Return what a file calls, as it is written there."""
    return tuple(ast.unparse(node.func) for node in ast.walk(parsed(file)) if isinstance(node, ast.Call))


def calls(file: str, form: str) -> int:
    """Return how often a file calls something of this form, e.g. `jwt.decode` or `.reveal`."""
    return sum(name == form or (form.startswith(".") and name.endswith(form)) for name in called(file))


def importers(files: Iterable[str], *modules: str) -> dict[str, list[str]]:
    """Return the files that import any of the modules, each with what it imports of them."""
    return {file: found for file in files if (found := imports_any(file, *modules))}


def test_every_room_of_the_broker_has_its_ring() -> None:
    assert {Path(file).parts[1].removesuffix(".py") for file in BROKER} == LEVELS.keys()


def test_imports_run_from_the_outside_in_and_never_back() -> None:
    def is_backwards(file: str, imported: str) -> bool:
        here = room(file.removesuffix(".py").replace("/", "."))
        return not imported.startswith("chalicelib.") or LEVELS[room(imported)] > LEVELS[here]

    found = importers(BROKER, "chalicelib", *DOORS, "keybroker", "tests")
    assert len(found) > 80
    assert [f"{file}: {name}" for file, names in found.items() for name in names if is_backwards(file, name)] == []


def test_only_doors_import_a_web_framework() -> None:
    assert importers((*BROKER, *CLIENT), "chalice", "aiohttp", "yarl") == {}


def test_only_the_aws_rim_and_what_signs_import_botocore() -> None:
    others = [file for file in FILES if not file.startswith(USES_BOTOCORE)]
    assert importers(others, "botocore", "boto3", "s3transfer") == {}


def test_these_rules_see_the_imports_that_there_are() -> None:
    assert imports_any("local/simulator/sigv4.py", "botocore")
    assert imports_any("app.py", "chalice")
    assert imports_any("local/machine.py", "edge")
    assert imports_any("app.py", "chalicelib.aws.wiring") == ["chalicelib.aws.wiring"]


def test_only_the_io_modules_are_impure() -> None:
    """Only the I/O modules read the clock, the environment, files or randomness."""
    pure = [file for file in BROKER if not file.startswith(IO)]
    assert importers(pure, *IMPURE) == {}
    assert importers(pure, "chalicelib.issuers.fetch") == {}
    assert {file: names for file in pure if (names := IMPURE_CALLS & {*called(file)})} == {}


def test_the_client_and_the_broker_do_not_import_each_other() -> None:
    verifying = [file for file in FILES if file.startswith("infra/verify/")]  # it calls an installation as its users do
    others = [file for file in FILES if not file.startswith(("keybroker/", "local/", "infra/verify/"))]
    assert importers(verifying, "chalicelib", "local", "tests") == {}
    assert importers(CLIENT, "chalicelib", *DOORS, "tests") == {}
    assert importers(others, "keybroker", "local", "tests") == {}


def test_the_client_needs_nothing_but_the_standard_library_to_be_imported() -> None:
    def is_foreign(file: str, module: str) -> bool:
        extras = {"keybroker/cli/": {"click"}, "keybroker/console/": {"jinja2", "markupsafe"}}
        extra = next((names for folder, names in extras.items() if file.startswith(folder)), set())
        return module.partition(".")[0] not in sys.stdlib_module_names | {"keybroker"} | extra

    assert [f"{file}: {name}" for file in CLIENT for name in _imports_at_once(file) if is_foreign(file, name)] == []


def _imports_at_once(file: str) -> Iterator[str]:
    for node in parsed(file).body:
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_a_token_is_decoded_in_one_place() -> None:
    assert {file: calls(file, "jwt.decode") for file in FILES if calls(file, "jwt.decode")} == {
        "chalicelib/tokens/verify.py": 1
    }
    for file in FILES:
        assert not calls(file, ".decode_complete"), file
        assert imports_any(file, "jwt.decode", "jwt.PyJWT", "jwt.api_jwt", "jwt.api_jws", "jwt.PyJWS") == [], file


def test_a_provider_key_is_revealed_only_where_it_is_set_and_where_it_is_stored() -> None:
    assert {file for file in FILES if calls(file, ".reveal")} == {
        "chalicelib/edge/headers.py",
        "chalicelib/issuers/key_probe.py",
        "local/provider_key_file.py",
        "chalicelib/aws/minted_key_store.py",
        "chalicelib/aws/provider_key_store.py",
    }


def test_files_and_functions_are_short() -> None:
    assert [file for file in FILES if len((ROOT / file).read_text(encoding="utf-8").splitlines()) > 300] == []
    assert [
        f"{file}:{node.lineno}: {node.name}"
        for file in FILES
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno >= 40
    ] == []


def test_a_module_is_named_for_what_it_is() -> None:
    vague = {"util", "utils", "common", "base", "manager", "helper", "helpers", "misc"}
    assert [file for file in FILES if vague & {*Path(file).stem.split("_")}] == []


def test_tests_mirror_the_tree() -> None:
    """A test file is named for the module that it tests, `test_<module>.py` or `test_<module>_<aspect>.py`, in its folder."""
    strays = []
    for path in (
        *ROOT.glob("tests/chalicelib/**/test_*.py"),
        *ROOT.glob("tests/local/**/test_*.py"),
        *ROOT.glob("tests/keybroker/**/test_*.py"),
    ):
        modules = [
            f"test_{module.stem.strip('_')}" for module in (ROOT / path.relative_to(ROOT / "tests").parent).glob("*.py")
        ]
        if not any(path.stem == one or path.stem.startswith(f"{one}_") for one in modules):
            strays.append(str(path.relative_to(ROOT)))
    assert strays == []


def test_repositories_are_not_shared() -> None:
    """No two test files use one repository at the running server that all tests of a process share."""
    users: dict[str, set[str]] = {}
    for path in ROOT.glob("tests/**/test_*.py"):
        text = path.read_text(encoding="utf-8")
        if re.search(r"\brunning: Running\b|\bjob: Job\b", text):
            for repository in re.findall(r"\b(?:mint|token|sub|rotate)\(\"(\d{4})\"", text):
                users.setdefault(repository, set()).add(path.name)
    assert len(users) > 50
    assert {repository: files for repository, files in users.items() if len(files) > 1} == {}
