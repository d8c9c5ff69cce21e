from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from keybroker import IdentityError, find_identity
from keybroker.ambient import Identity
from keybroker.sources import google
from tests.keybroker.sources.stand_ins import TOKEN, Site


def test_google_is_asked_for_our_audience(site: Site) -> None:
    """Google's metadata server is asked for our audience."""
    found = find_identity("keybroker", {"GCE_METADATA_HOST": site.url.removeprefix("http://")})
    assert found == Identity("google", TOKEN)
    ((path, headers),) = site.asked
    assert urlsplit(path).path == "/computeMetadata/v1/instance/service-accounts/default/identity"
    assert parse_qs(urlsplit(path).query) == {"audience": ["keybroker"], "format": ["full"]}
    assert headers["metadata-flavor"] == "Google"


def test_google_needs_a_service_account(site: Site) -> None:
    """Google Cloud without a service account is an error that says so."""
    site.status = 404
    with pytest.raises(IdentityError, match=r"HTTP 404.*attach a service account"):
        find_identity(environ={"GCE_METADATA_HOST": site.url.removeprefix("http://")})


def test_an_absent_metadata_server_is_an_error() -> None:
    """A metadata server that cannot be reached is an error."""
    with pytest.raises(IdentityError, match=r"metadata server issued no identity token.*cannot reach"):
        find_identity(environ={"GCE_METADATA_HOST": "127.0.0.1:1", "K_SERVICE": "job"})


@pytest.mark.parametrize(
    ("name", "there"), [("Google Compute Engine\n", True), ("Google", True), ("Standard PC", False)]
)
def test_google_is_known_by_its_product_name(tmp_path: Path, name: str, there: bool) -> None:  # noqa: FBT001  a table's column
    """A Google machine is recognised by its product name."""
    (tmp_path / "product").write_text(name)
    assert google._is_google(str(tmp_path / "product")) is there
    assert google._is_google(str(tmp_path / "none")) is False
