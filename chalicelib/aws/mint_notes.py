"""Why no credential could be minted, in DynamoDB: `chalicelib.federation.notes.MintNotes`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.aws.dynamodb import Tables, as_unavailable, read_partition
from chalicelib.aws.errors import error_code
from chalicelib.aws.items import text
from chalicelib.errors import StateUnavailable
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
        where = {"pk": {"S": PARTITION}, "sk": {"S": key}}
        try:
            with as_unavailable():
                self._tables.client.update_item(TableName=self._tables.control, Key=where, **change)
        except ClientError as error:
            raise StateUnavailable(aws_code=error_code(error)) from error
