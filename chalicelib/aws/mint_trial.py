"""One mint on trial, made by the minter's function, which alone may sign assertions: an administrator's door asks it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.aws.errors import error_code
from chalicelib.errors import NotConfigured, StateUnavailable
from chalicelib.federation.notes import Asked, Trial
from chalicelib.providers.versions import KeyInfo


class MintTrial:
    """Asks the function of a name, which answers with a `Trial`."""

    def __init__(self, client: Callable[[], Any], function: str) -> None:
        self._client, self._function = client, function

    def __call__(self, info: KeyInfo, asked: Asked) -> Trial:
        """Return what became of it; raises NotConfigured where no minter is deployed, Unavailable."""
        if not self._function:
            raise NotConfigured(hint="no minter is deployed (infra/minter.yaml)")
        try:
            payload = json.dumps({"try": info.name, **asked._asdict()})
            answer = self._client().invoke(FunctionName=self._function, Payload=payload)
            if "FunctionError" in answer:
                raise StateUnavailable(aws_code="FunctionError")
            return Trial(**json.loads(answer["Payload"].read(65_536)))
        except ClientError as error:
            raise StateUnavailable(aws_code=error_code(error)) from error
        except (BotoCoreError, ValueError, TypeError) as error:
            raise StateUnavailable(aws_code=type(error).__name__) from error
