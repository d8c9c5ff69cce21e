"""What seals the keys of a state directory: a passphrase, a KMS key, or nothing, as the environment names it.

KEYBROKER_PASSPHRASE_FILE names a passphrase's file; systemd's credential `keybroker-passphrase` is one as well.
KEYBROKER_KMS_KEY is the ARN of a symmetric KMS key.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from local import passphrase
from local.errors import KmsKeyUnusable, PassphraseUnusable
from local.passphrase import Passphrase

FILE_VARIABLE = "KEYBROKER_PASSPHRASE_FILE"
KMS_VARIABLE = "KEYBROKER_KMS_KEY"
CREDENTIAL = "keybroker-passphrase"
KMS_MARK = "keybroker-sealed:2:"
_ANY = "keybroker-sealed:"


class Sealing(Protocol):
    """One way to seal texts. A sealed text begins with its mark."""

    @property
    def mark(self) -> str:
        """What a text begins with that was sealed in this way."""

    @property
    def kind(self) -> str:
        """What it is called: `passphrase` or `kms`."""

    def seal(self, name: str, text: str, stored: str = "") -> str:
        """Return a text, sealed for a file of this name; raises Unavailable. stored: what is in that file now."""

    def open(self, name: str, sealed: str) -> str:
        """Return what was sealed; raises Unavailable for what was not sealed by the same, for this name, and left unchanged."""


def named() -> Sealing | None:
    """Return what the environment names, read anew each time; None if it names nothing. Raises Unavailable."""
    file, arn = os.environ.get(FILE_VARIABLE, ""), os.environ.get(KMS_VARIABLE, "")
    credentials = os.environ.get("CREDENTIALS_DIRECTORY", "")
    credential = Path(credentials) / CREDENTIAL if credentials else None
    found: list[Sealing] = [kms(arn)] if arn else []
    if file:
        found.append(Passphrase.read(Path(file)))
    elif credential is not None and credential.exists():
        found.append(Passphrase(credential.read_text(encoding="utf-8")))  # its mode is systemd's affair
    if len(found) > 1:
        raise KmsKeyUnusable(hint=f"a passphrase is named as well as {KMS_VARIABLE}: name one of them")
    return found[0] if found else None


def kms(arn: str) -> Sealing:
    """Return sealing by a KMS key; raises KmsKeyUnusable for an ARN that is none."""
    from local.kms_key import KmsKey  # noqa: PLC0415  botocore takes a while, which other starts need not wait

    return KmsKey(arn)


def is_sealed(text: str) -> bool:
    """Whether a text was sealed, in whichever way."""
    return text.startswith(_ANY)


def kind(text: str) -> str | None:
    """Return by what a text is sealed, as `Sealing.kind` says; None if it is not."""
    return {passphrase.MARK: "passphrase", KMS_MARK: "kms"}.get(text[: len(KMS_MARK)])


def opened(path: Path, text: str, by: Sealing | None) -> str:
    """Return what a file's text says, sealed or not; raises Unavailable if it was sealed, and not by this."""
    if not is_sealed(text):
        return text
    if by is not None and text.startswith(by.mark):
        return by.open(path.name, text)
    if text.startswith(KMS_MARK):
        raise KmsKeyUnusable(hint=f"{path} is sealed by a KMS key: name it in {KMS_VARIABLE}, and nothing else")
    if text.startswith(passphrase.MARK):
        raise PassphraseUnusable(hint=f"{path} is sealed: name its passphrase's file in {FILE_VARIABLE}")
    raise PassphraseUnusable(hint=f"{path} was sealed by a newer Keybroker: run that one")
