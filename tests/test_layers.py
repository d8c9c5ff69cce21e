"""The house's plan: which module may import which, and who alone may do what. Read from the source, not run."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOORS = ("app", "edge", "local")
AWS = """aws_client dynamodb dynamodb_audit dynamodb_control dynamodb_copies dynamodb_counters dynamodb_gate dynamodb_ledger
dynamodb_policies dynamodb_revocations dynamodb_signing_keys dynamodb_things dynamodb_usage provider_key_secrets
kms_signing dynamodb_jwks cloudwatch wave_threads"""
LAYERS = {
    "wiring": "broker_on_aws",
    "answers": "http_api public_api admin_api admin_audit admin_keys admin_openapi admin_principals admin_query "
    "admin_revocations admin_usage openapi openapi_public openapi_routes openapi_schemas openapi_shapes",
    "rim": f"jwks json_fetch config {AWS}",
    "verbs": "exchange admission holder administer completeness impact principals_seen",
    "nouns": "principal issuers grants policy policy_file policy_text policy_yaml presets aws_identity lint explain plan "
    "tokens issued_tokens issuing quota revocation providers audit jws jwk patterns ledger call_path edge_refusal token_request "
    "revocation_request usage keys rate_limit audit_pages key_request origins provider_presets call_headers "
    "call_query call_token resource_metadata call_body form_body json_body "
    "model_endpoints model_members model_selection seen_signatures source_address gate",
    "errors": "errors",
}
"""From the outside in; a module imports its own layer and those below. The doors are above them all."""
AWS_RIM = frozenset(f"chalicelib/{name}.py" for name in AWS.split())
"""The modules in chalicelib/ that speak to AWS."""
USES_BOTOCORE = AWS_RIM | {"local/sigv4.py", "keybroker/aws.py", "keybroker/sources/aws_web_identity.py"}
IMPURE = """asyncio concurrent datetime glob http importlib io logging multiprocessing os pathlib random secrets select
shutil signal socket sqlite3 ssl subprocess sys tempfile threading time urllib.request urllib3 uuid""".split()  # noqa: SIM905  a list of words
IMPURE_CALLS = {"open", "input", "print", "exec", "eval", "__import__"}

LEVELS = {name: len(LAYERS) - level for level, names in enumerate(LAYERS.values()) for name in names.split()}
FILES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.py", "chalicelib/**/*.py", "local/**/*.py", "keybroker/**/*.py", "infra/**/*.py")
    for path in ROOT.glob(pattern)
)
PURE = [f"chalicelib/{name}.py" for layer in LAYERS if layer not in ("wiring", "rim") for name in LAYERS[layer].split()]


@functools.cache
def parsed(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


def imports(file: str) -> Iterator[str]:
    """Yield the dotted names that a file imports, anywhere in it: `a.b` for `import a.b` and for `from a import b`."""
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}:{node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_any(file: str, *modules: str) -> list[str]:
    """Return those imports of a file that are one of the modules, or are in one."""
    return [name for name in imports(file) if any(f"{name}.".startswith(f"{module}.") for module in modules)]


def calls(file: str, form: str) -> int:
    """Return how often a file calls something of this form, e.g. `jwt.decode` or `.reveal`."""
    names = (ast.unparse(node.func) for node in ast.walk(parsed(file)) if isinstance(node, ast.Call))
    return sum(name == form or (form.startswith(".") and name.endswith(form)) for name in names)


def test_every_module_of_the_broker_has_its_layer() -> None:
    found = {Path(file).stem for file in FILES if file.startswith("chalicelib/")} - {"__init__"}
    assert found == LEVELS.keys()


@pytest.mark.parametrize("name", LEVELS)
def test_imports_run_from_the_outside_in_and_never_back(name: str) -> None:
    for imported in imports_any(f"chalicelib/{name}.py", "chalicelib", *DOORS, "keybroker", "tests"):
        package, module = (*imported.split("."), "")[:2]
        assert package == "chalicelib", f"{name} imports {imported}"
        assert LEVELS[module] <= LEVELS[name], f"{name} imports {imported}"


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith(("chalicelib/", "keybroker/"))])
def test_only_doors_import_a_web_framework(file: str) -> None:
    assert imports_any(file, "chalice", "aiohttp", "yarl") == []


@pytest.mark.parametrize("file", [file for file in FILES if file not in USES_BOTOCORE])
def test_only_the_aws_rim_and_what_signs_import_botocore(file: str) -> None:
    assert imports_any(file, "botocore", "boto3", "s3transfer") == []


def test_these_rules_see_the_imports_that_there_are() -> None:
    assert imports_any("local/sigv4.py", "botocore")
    assert imports_any("app.py", "chalice")
    assert imports_any("local/machine.py", "edge")
    assert imports_any("app.py", "chalicelib.broker_on_aws") == ["chalicelib.broker_on_aws"]


@pytest.mark.parametrize("file", PURE)
def test_all_but_the_rim_reads_no_clock_no_environment_no_file_and_no_randomness(file: str) -> None:
    assert imports_any(file, *IMPURE) == []
    assert {name for name in IMPURE_CALLS if calls(file, name)} == set()


@pytest.mark.parametrize("file", FILES)
def test_the_client_and_the_broker_do_not_import_each_other(file: str) -> None:
    if file.startswith("keybroker/"):
        assert imports_any(file, "chalicelib", *DOORS, "tests") == []
    elif not file.startswith("local/"):
        assert imports_any(file, "keybroker", "local", "tests") == []


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("keybroker/")])
def test_the_client_needs_nothing_but_the_standard_library_to_be_imported(file: str) -> None:
    at_once = ast.Module([node for node in parsed(file).body if isinstance(node, ast.Import | ast.ImportFrom)], [])
    modules = {getattr(node, "module", None) or node.names[0].name for node in at_once.body}  # type: ignore[attr-defined]  # imports only, see above
    extra = {"click"} if file.startswith("keybroker/cli/") else set()
    assert {module.partition(".")[0] for module in modules} <= sys.stdlib_module_names | {"keybroker"} | extra


def test_a_token_is_decoded_in_one_place() -> None:
    assert {file: calls(file, "jwt.decode") for file in FILES if calls(file, "jwt.decode")} == {
        "chalicelib/tokens.py": 1
    }
    for file in FILES:
        assert not calls(file, ".decode_complete"), file
        assert imports_any(file, "jwt.decode", "jwt.PyJWT", "jwt.api_jwt", "jwt.api_jws", "jwt.PyJWS") == [], file


def test_a_provider_key_is_revealed_only_where_it_is_set_and_where_it_is_stored() -> None:
    assert {file for file in FILES if calls(file, ".reveal")} == {
        "edge.py",
        "local/provider_key_file.py",
        "chalicelib/provider_key_secrets.py",
    }


@pytest.mark.parametrize("file", FILES)
def test_files_and_functions_are_short(file: str) -> None:
    assert len((ROOT / file).read_text(encoding="utf-8").splitlines()) <= 300
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 40, f"{file}:{node.lineno}: {node.name} is over 40 lines"


@pytest.mark.parametrize("file", FILES)
def test_a_module_is_named_for_what_it_is(file: str) -> None:
    words = set(Path(file).stem.split("_"))
    assert not words & {"util", "utils", "common", "base", "manager", "helper", "helpers", "misc"}
