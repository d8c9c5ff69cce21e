"""Which variables could mint an identity: tests/vectors/identity_variables.json has each with a made-up value."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import pytest

from keybroker.cli import identity_variables
from keybroker.cli.identity_variables import PLATFORMS, take_out
from tests.running import ROOT

ROWS = json.loads((ROOT / "tests" / "vectors" / "identity_variables.json").read_text())
USUAL = {
    "PATH": "/bin",
    "HOME": "/root",
    "KEYBROKER_URL": "https://broker.example",
    "BUILDKITE_JOB_ID": "1",
    "CI": "true",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": "/etc/ssl/certs/ca-certificates.crt",
    "CLOUDSDK_PYTHON": "/usr/bin/python3",
}


def jwt(typ: str = "JWT", aud: str = "keybroker") -> str:
    parts = [json.dumps({"alg": "RS256", "typ": typ}), json.dumps({"aud": aud}), "signature"]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


def values(platform: str) -> Mapping[str, str]:
    return {name: jwt() if value == "JWT" else value for name, value in ROWS[platform].items()}


def test_every_row_has_its_values() -> None:
    """Every platform's variables have a made-up value, and no others have one."""
    assert ROWS.keys() == PLATFORMS.keys()
    for name, platform in PLATFORMS.items():
        plain = {one for one in platform.variables if not one.endswith("*")}
        assert plain <= ROWS[name].keys()
        assert {one for one in ROWS[name] if identity_variables.by_name(one)} | {"MY_OWN_NAME"} >= ROWS[name].keys()


def test_file_variables_are_known() -> None:
    """Every made-up value that is a path is known to be one, and no other variable's is."""
    every = {name: value for platform in PLATFORMS for name, value in values(platform).items()}
    paths = {name for name, value in every.items() if value.startswith(("/", "unix://"))}
    assert paths - {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"} == identity_variables.FILE_VARIABLES


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_platform_s_doors_are_taken_out(platform: str) -> None:
    """Each platform's variables are taken out, and the others stay; what programs need stays, but for isolation."""
    environ = {**USUAL, **values(platform)}
    stays = PLATFORMS[platform].stays
    taken = take_out(environ)
    assert taken.environ == (environ if stays else USUAL)
    assert taken.names == (() if stays else tuple(sorted(values(platform))))
    assert take_out(environ, everything=True).environ == USUAL


@pytest.mark.parametrize(
    "value", [jwt(), f" {jwt()}\n", f"Bearer {jwt()}", jwt("application/jwt"), "eyJ.not-json.x", "eyJh.a.b"]
)
def test_a_token_under_any_name_is_taken_out(value: str) -> None:
    """A variable with the shape of an identity token is taken out, whatever its name."""
    expected = () if value == "eyJ.not-json.x" else ("ANY",)
    assert take_out({"ANY": value}).names == expected


@pytest.mark.parametrize(
    "value", ["", "eyJ", "a.b.c", "1.2.3", "eyJh.a", "eyJh.a.b.c", "x=eyJh.a.b", jwt("at+jwt"), jwt("AT+JWT")]
)
def test_other_values_stay(value: str) -> None:
    """Other values stay: also an access token, as Keybroker issues for an outer `exec`, since no broker takes it."""
    assert take_out({"ANY": value}).names == ()


def test_kept_names_stay() -> None:
    """A variable that is kept by name stays, and is masked all the same."""
    taken = take_out({"SUPABASE_KEY": jwt(), "CI_JOB_TOKEN": "glcbt-made-up"}, keep=["SUPABASE_KEY"])
    assert taken.names == ("CI_JOB_TOKEN",)
    assert taken.secrets == tuple(sorted(("glcbt-made-up", jwt())))


def test_a_strict_environment_has_no_token() -> None:
    """Where no identity may be passed on, neither keeping its name nor a usual one saves a token."""
    environ = {"SUPABASE_KEY": jwt(), "VAULT_TOKEN": jwt(), "NPM_TOKEN": "npm_made-up", "OUTER": jwt("at+jwt")}
    assert take_out(environ, keep=environ, strict=True).names == ("SUPABASE_KEY", "VAULT_TOKEN")
    assert identity_variables.always_taken([*environ, "CI_JOB_TOKEN"], environ) == (
        *("SUPABASE_KEY", "VAULT_TOKEN"),
        "CI_JOB_TOKEN",
    )


def test_only_secrets_are_masked() -> None:
    """Addresses, paths and short values are not masked: they are found in what anybody prints."""
    environ = {name: value for platform in PLATFORMS for name, value in values(platform).items()}
    masked = set(take_out({**environ, "MSI_SECRET": "short"}).secrets)
    assert not {one for one in masked if one.startswith(("/", "http", "unix")) or len(one) < 8}
    for name in (
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "MY_OWN_NAME",
        "IDENTITY_HEADER",
        "AWS_SECRET_ACCESS_KEY",
        "SYSTEM_ACCESSTOKEN",
    ):
        assert environ[name] in masked


def test_values_are_in_no_repr() -> None:
    """No value is in a repr."""
    assert "glcbt" not in repr(take_out({"CI_JOB_TOKEN": "glcbt-made-up", "OTHER": "glcbt-other"}))
