"""Which signing keys are published, for administrators, who publish none and sign nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext

from chalicelib.aws.dynamodb import Tables, read_item
from chalicelib.aws.published_keys import KEY, MARK
from chalicelib.errors import MalformedRequest
from chalicelib.tokens.errors import NoSpareSigningKey


class DynamoSigningKeyStore:
    """`chalicelib.tokens.key_list.SigningKeyStore`, over the table `control`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def published(self) -> Sequence[str]:
        """See `SigningKeyStore.published`; in which order they were published is not known."""
        item = read_item(self._tables, KEY)
        return sorted(name.removeprefix(MARK) for name in item if name.startswith(MARK))

    def spare(self, known: frozenset[str]) -> str:
        """See `SigningKeyStore.spare`. Keys are made in KMS and published by a deployment, never by the broker."""
        spare = [kid for kid in self.published() if kid not in known]
        if len(spare) > 1:  # one that was retired is still published, and would be as likely as the new one
            raise MalformedRequest(f"{len(spare)} published signing keys are spare: name one by its kid")
        if not spare:
            raise NoSpareSigningKey
        return spare[0]

    def keep_only(self, kids: Collection[str]) -> None:
        """See `SigningKeyStore.keep_only`: no role of the broker may disable a key in KMS."""

    def alone(self) -> AbstractContextManager[None]:
        """See `SigningKeyStore.alone`: none is made or deleted here, and the list's own condition is enough."""
        return nullcontext()
