"""What the fields of a configuration file may be. Each reader takes a value and the directory of the file.

It returns what is meant, and raises ValueError with what is allowed; the caller quotes what was found.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from urllib.parse import urlsplit

from local import addresses
from local.addresses import Listen

LOG_LEVELS = ("debug", "info", "warning", "error")
_STAGE = re.compile(r"[a-z][a-z0-9-]{1,23}")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_KMS_KEY = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/[a-zA-Z0-9/_-]+")
_ADDRESS = 'an IP address and a port, such as "127.0.0.1:8080" or "[::1]:8080"'


def path(value: object, directory: Path) -> Path:
    """Read a path, relative to the file's directory."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("a path, relative to this file")
    return directory / Path(value).expanduser()


def address(value: object, directory: Path) -> Listen:
    """Read where a door listens on the network."""
    listen = _listen(value, directory, _ADDRESS)
    if listen.path is not None:
        raise ValueError(_ADDRESS)
    return listen


def address_or_socket(value: object, directory: Path) -> Listen:
    """Read where a door listens, which may be a UNIX socket."""
    return _listen(value, directory, f"{_ADDRESS}, or unix:PATH")


def _listen(value: object, directory: Path, allowed: str) -> Listen:
    try:
        return addresses.parse(value if isinstance(value, str) else "", directory)
    except ValueError:
        raise ValueError(allowed) from None


def public_url(value: object, _directory: Path | None = None) -> str:
    """Read the URL that callers use: https and a host name, without a path; http for this machine alone."""
    allowed = "https://NAME or https://NAME:PORT (http:// for this machine alone), without a path"
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(allowed) from None
    url = f"{parts.scheme}://{host}" + ("" if port is None else f":{port}")
    secure = parts.scheme == "https" or (parts.scheme == "http" and host in ("localhost", "127.0.0.1"))
    if not (secure and host and isinstance(value, str) and value.lower().removesuffix("/") == url.lower()):
        raise ValueError(allowed)
    return url


def networks(value: object, _directory: Path) -> tuple[IPv4Network | IPv6Network, ...]:
    """Read a list of addresses and networks."""
    allowed = 'a list of IP addresses and networks, such as ["10.0.0.7", "10.1.0.0/16"], none of them all addresses'
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(allowed)
    try:
        found = tuple(ipaddress.ip_network(one) for one in value)
    except ValueError:
        raise ValueError(allowed) from None
    # SECURITY: every caller could name its own address (test_not_everybody_is_a_trusted_proxy).
    if any(one.prefixlen == 0 for one in found):
        raise ValueError(allowed)
    return found


def region(value: object, _directory: Path | None = None) -> str:
    """Read a region of AWS."""
    return _matched(_REGION, value, "a region such as eu-central-1")


def stage(value: object, _directory: Path | None = None) -> str:
    """Read the name of a stage."""
    return _matched(_STAGE, value, "2 to 24 lower-case letters, digits and hyphens")


def pause(value: object, _directory: Path | None = None) -> int:
    """Read the seconds from one measurement to the next; 0 for none."""
    if type(value) is not int or not (value == 0 or 5 <= value <= 86400):
        raise ValueError("a whole number of seconds from 5 to 86400, or 0 for none")
    return value


def kms_keys(value: object, _directory: Path | None = None) -> str:
    """Read the ARN of a key in KMS, or of an alias; several as a list. Returns them with commas between them."""
    listed = value if isinstance(value, list) and value else [value]
    allowed = "the ARN of a KMS key, an output of the stage's stack PREFIX-keys, or a list of them"
    return ",".join(_matched(_KMS_KEY, one, allowed) for one in listed)


def _matched(pattern: re.Pattern[str], value: object, allowed: str) -> str:
    if not (isinstance(value, str) and pattern.fullmatch(value)):
        raise ValueError(allowed)
    return value


def stage_url(value: object, _directory: Path | None = None) -> str:
    """Read a URL of a stage, as it was deployed: tokens name it to the letter."""
    if not (isinstance(value, str) and value.startswith("https://") and value != "https://") or value.endswith("/"):
        raise ValueError("an https:// URL without a slash at its end")
    return value


def yes_or_no(value: object, _directory: Path) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004  a fault of the file, as the others
    return value


def whole_number(least: int, most: int) -> Callable[[object, Path], int]:
    """Return what reads a whole number within bounds."""

    def read(value: object, _directory: Path) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return value

    return read


def one_of(*words: str) -> Callable[[object, Path], str]:
    """Return what reads one of some words."""

    def read(value: object, _directory: Path) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(", ".join(words))
        return value

    return read
