"""Why no credential could be minted, in DynamoDB: `chalicelib.federation.notes.MintNotes`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws.dynamodb import Tables, as_unavailable, read_partition
from chalicelib.aws.items import text
from chalicelib.federation.notes import MintNote

PARTITION = "mint-notes"
"""The partition of these items in the table `control`; the sort key is the key's name."""


class DynamoMintNotes:
    """Over the table `control`: an item for each key whose last attempt failed."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def mint_notes(self) -> Mapping[str, MintNote]:
        """See `MintNotes.mint_notes`."""
        items = read_partition(self._tables, self._tables.control, PARTITION)
        noted = {text(item, "sk"): text(item, "note") for item in items}
        return {key: MintNote(**json.loads(note)) for key, note in noted.items() if note}

    def note_mint(self, key: str, note: MintNote | None) -> None:
        """See `MintNotes.note_mint`."""
        change: dict[str, Any] = {"UpdateExpression": "REMOVE note"}
        if note is not None:
            stored = {":note": {"S": json.dumps(note.to_json())}}
            change = {"UpdateExpression": "SET note = :note", "ExpressionAttributeValues": stored}
        self._update(key, change)

    def end_pause(self, note: MintNote, now: int) -> None:
        """See `MintNotes.end_pause`."""
        before, after = (json.dumps(one.to_json()) for one in (note, note._replace(next_try=now)))
        # Of a condition that does not hold: another attempt has been noted since.
        with contextlib.suppress(ClientError):
            self._update(
                note.key,
                {
                    "UpdateExpression": "SET note = :after",
                    "ConditionExpression": "note = :before",
                    "ExpressionAttributeValues": {":before": {"S": before}, ":after": {"S": after}},
                },
            )

    def _update(self, key: str, change: Mapping[str, Any]) -> None:
        """Change a key's item; raises Unavailable, or ClientError if the change's condition does not hold."""
        where = {"pk": {"S": PARTITION}, "sk": {"S": key}}
        with as_unavailable():
            self._tables.client.update_item(TableName=self._tables.control, Key=where, **change)
