from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from chalicelib.errors import Unavailable
from chalicelib.issuers import aws as aws_identity
from local import secret_file
from local.administrators import Administrator
from local.simulator.callers import ADMIN_ARN, REGION, Callers, own_hosts
from local.simulator.sigv4 import Caller, InvalidSignatureError, SignedRequest

SIGNED_AT = 1_800_000_000
URL = "http://broker.example"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    Callers(tmp_path, URL).create()
    return tmp_path


def entries(directory: Path) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads((directory / "aws-callers.json").read_text())
    return found


def signed(keys: dict[str, str], path: str = "/token/iam") -> SignedRequest:
    """A request signed with these keys at SIGNED_AT."""
    request = AWSRequest("POST", f"http://broker.example{path}", data=b"{}", headers={"host": "broker.example"})
    credentials = Credentials(keys["access_key_id"], keys["secret_access_key"], keys.get("session_token"))
    signer: Any = SigV4Auth(credentials, "execute-api", REGION)  # its steps, to sign at a time of ours
    request.context["timestamp"] = "20270115T080000Z"
    signer._modify_request_before_signing(request)
    request.headers.replace_header("X-Amz-Date", "20270115T080000Z")
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    signer._inject_signature_to_request(request, signature)
    return SignedRequest("POST", path, tuple(request.headers.items()), b"{}")


def admin_of(directory: Path) -> dict[str, str]:
    """The practising administrator's credentials."""
    found = Callers(directory, URL).admin()
    assert found is not None
    return found


def refusal(directory: Path, request: SignedRequest) -> str:
    with pytest.raises(InvalidSignatureError) as caught:
        Callers(directory, URL).authenticate(request, SIGNED_AT)
    return str(caught.value)


def test_both_files_are_their_owner_s_alone(directory: Path) -> None:
    assert {one.name: one.stat().st_mode & 0o777 for one in directory.iterdir()} == {
        "admin.json": 0o600,
        "aws-callers.json": 0o600,
    }


def test_what_is_there_is_kept(directory: Path) -> None:
    before = [one.read_text() for one in sorted(directory.iterdir())]
    Callers(directory, URL).create()
    assert [one.read_text() for one in sorted(directory.iterdir())] == before


def test_each_machine_has_keys_of_its_own(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Callers(tmp_path / name, URL).create()
        made.append({**admin_of(tmp_path / name), **entries(tmp_path / name)[0]})
    assert made[0].keys() == made[1].keys()
    secrets = ("access_key_id", "secret_access_key", "session_token")
    assert all(made[0][name] != made[1][name] for name in secrets)


def test_practice_caller_is_a_role_session(directory: Path) -> None:
    """The practice caller is a session of the practice role."""
    one = entries(directory)[0]
    found = Callers(directory, URL).authenticate(signed(one), SIGNED_AT)
    assert found == Caller(one["access_key_id"], one["account"], one["arn"], one["user_id"])
    said = {"userArn": found.arn, "accountId": found.account, "caller": found.user_id, "user": found.user_id}
    assert aws_identity.from_context(said).arn == "arn:aws:iam::000000000000:role/practice-role"


def test_the_administrator_may_administer_and_ask(directory: Path) -> None:
    callers = Callers(directory, URL)
    for path in ("/admin/policy", "/token/iam"):
        assert callers.authenticate(signed(admin_of(directory), path), SIGNED_AT).arn == ADMIN_ARN


@pytest.mark.parametrize("path", ["/admin/policy", "/admin/audit?kind=x", "/admin", "/admin/keys/openai"])
def test_a_practice_caller_may_not_administer(directory: Path, path: str) -> None:
    assert refusal(directory, signed(entries(directory)[0], path)) == "this caller may not call the admin API"


def test_the_file_is_read_anew_for_each_request(directory: Path) -> None:
    callers, file = Callers(directory, URL), directory / "aws-callers.json"
    another = {**entries(directory)[0], "access_key_id": "AKIAANOTHER", "session_token": None}
    request = signed({name: str(value) for name, value in another.items() if value is not None})
    assert refusal(directory, request) == "the access key is unknown"
    secret_file.write(file, json.dumps([another]))
    assert callers.authenticate(request, SIGNED_AT).access_key_id == "AKIAANOTHER"
    secret_file.write(file, "[]")
    assert refusal(directory, request) == "the access key is unknown"


def test_entry_cannot_replace_the_administrator(directory: Path) -> None:
    """An entry with the administrator's access key does not replace the administrator."""
    admin = admin_of(directory)
    mine = {**entries(directory)[0], "access_key_id": admin["access_key_id"], "secret_access_key": "mine"}
    secret_file.write(directory / "aws-callers.json", json.dumps([mine]))
    assert refusal(directory, signed({**mine, "session_token": ""}, "/admin/policy")) == (
        "the signature does not match the request"
    )


BROKEN = ["", "{", "null", "1", '["x"]', "[{}]", '[{"access_key_id": 1}]', "[null]"]


@pytest.mark.parametrize("text", [*BROKEN, "changed"])
def test_malformed_callers_file_is_unavailable(directory: Path, text: str) -> None:
    """A malformed file of callers admits none of them."""
    one = entries(directory)[0]
    broken = json.dumps([{**one, "arn": None}]) if text == "changed" else text
    secret_file.write(directory / "aws-callers.json", broken)
    with pytest.raises(Unavailable) as caught:
        Callers(directory, URL).authenticate(signed(one), SIGNED_AT)
    assert caught.value.reason == "aws_callers_malformed"
    assert one["secret_access_key"] not in caught.value.hint


@pytest.mark.parametrize("text", BROKEN)
def test_the_administrator_gets_in_all_the_same(directory: Path, text: str) -> None:
    secret_file.write(directory / "aws-callers.json", text)
    callers = Callers(directory, URL)
    assert callers.authenticate(signed(admin_of(directory), "/admin/revocations"), SIGNED_AT).arn == ADMIN_ARN


def test_a_file_that_others_can_read_lets_nobody_in(directory: Path) -> None:
    one = entries(directory)[0]
    (directory / "aws-callers.json").chmod(0o640)
    with pytest.raises(Unavailable) as caught:
        Callers(directory, URL).authenticate(signed(one), SIGNED_AT)
    assert caught.value.reason == "secret_file_open_to_others"


def test_a_missing_file_lets_nobody_in(directory: Path) -> None:
    admin = admin_of(directory)
    (directory / "admin.json").unlink()
    assert refusal(directory, signed(admin, "/admin/audit")) == "the access key is unknown"


def test_a_faulty_file_is_its_own_administrators_alone(directory: Path) -> None:
    """An administrator whose file is no use is told so, and the others are let in."""
    callers = Callers(directory, URL)
    ada, bob = callers.administrators.add("ada"), callers.administrators.add("bob")
    bob.file.chmod(0o644)
    request = signed({"access_key_id": ada.access_key_id, "secret_access_key": ada.secret_access_key}, "/admin/audit")
    assert callers.authenticate(request, SIGNED_AT).arn == "arn:aws:iam::000000000000:user/ada"
    request = signed({"access_key_id": bob.access_key_id, "secret_access_key": bob.secret_access_key}, "/admin/audit")
    with pytest.raises(Unavailable, match="secret_file_open_to_others"):
        callers.authenticate(request, SIGNED_AT)


def test_who_is_removed_is_refused_at_once(directory: Path) -> None:
    """A removed administrator is refused at the next request, also under a name that is added again."""
    callers = Callers(directory, URL)
    ada = callers.administrators.add("ada")
    request = signed({"access_key_id": ada.access_key_id, "secret_access_key": ada.secret_access_key}, "/admin/audit")
    before = callers.authenticate(request, SIGNED_AT)
    Callers(directory, URL).administrators.remove("ada")
    assert refusal(directory, request) == "the access key is unknown"
    assert Callers(directory, URL).administrators.add("ada").access_key_id != before.access_key_id
    assert refusal(directory, request) == "the access key is unknown"
    assert callers.authenticate(signed(admin_of(directory), "/admin/audit"), SIGNED_AT).arn == ADMIN_ARN


def test_a_name_that_comes_back_is_another_principal(directory: Path) -> None:
    """Grants bind AWS users by unique id: a new administrator of a removed one's name is not bound to it."""
    callers = Callers(directory, URL)
    found = []
    for _ in range(2):
        one = callers.administrators.add("ada")
        keys = {"access_key_id": one.access_key_id, "secret_access_key": one.secret_access_key}
        caller = callers.authenticate(signed(keys), SIGNED_AT)
        said = {"userArn": caller.arn, "accountId": caller.account, "caller": caller.user_id, "user": caller.user_id}
        found.append(aws_identity.from_context(said))
        callers.administrators.remove("ada")
    assert found[0].arn == found[1].arn
    assert found[0].unique_id != found[1].unique_id


def test_nobody_practises_for_real(tmp_path: Path) -> None:
    """For real there is no practice role, and nothing of the administrator is called practice."""
    callers = Callers(tmp_path, URL, practising=False)
    callers.create()
    assert entries(tmp_path) == []
    [one] = callers.administrators.all()
    assert isinstance(one, Administrator)
    keys = {"access_key_id": one.access_key_id, "secret_access_key": one.secret_access_key}
    caller = callers.authenticate(signed(keys, "/admin/audit"), SIGNED_AT)
    assert caller.arn == "arn:aws:iam::000000000000:user/admin"
    assert "practice" not in repr(caller).lower()


def test_a_real_secret_is_not_announced(tmp_path: Path) -> None:
    """For real the file is announced, not the secret in it."""
    callers = Callers(tmp_path, URL, practising=False)
    callers.create()
    [one] = callers.administrators.all()
    assert isinstance(one, Administrator)
    announced = {"access_key_id": one.access_key_id, "file": str(tmp_path / "admin.json"), "region": REGION}
    assert callers.admin() == announced
    assert one.secret_access_key not in repr(one)


@pytest.mark.parametrize("later", [-301, 301])
def test_a_request_is_replayed_within_the_window_only(directory: Path, later: int) -> None:
    with pytest.raises(InvalidSignatureError) as caught:
        Callers(directory, URL).authenticate(signed(entries(directory)[0]), SIGNED_AT + later)
    assert str(caught.value) == "x-amz-date is too far from now"


def test_callers_sign_for_this_broker(directory: Path) -> None:
    """A request that was signed for another broker's host is refused, no matter who signed it."""
    request = signed(admin_of(directory), "/admin/audit")
    with pytest.raises(InvalidSignatureError) as caught:
        Callers(directory, "http://127.0.0.1:8080").authenticate(request, SIGNED_AT)
    assert str(caught.value) == "signed for another host than this broker's"


def test_own_hosts() -> None:
    """The URL's own host counts, and loopback's names."""
    loopback = {"127.0.0.1", "localhost", "[::1]"}
    assert own_hosts("http://127.0.0.1:8080") == loopback
    assert own_hosts("https://broker.example:8443") == {"broker.example", *loopback}
