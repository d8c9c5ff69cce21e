"""What each client is put through, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from local.practice.completions import SENTENCE
from tests.sdks.clients import Client
from tests.sdks.conversation import Conversation, Description
from tests.sdks.relay import Seen
from tests.sdks.stage import EVERYTHING, GRANTS, NARROW, ONCE, RUNNER, SLOWLY, TTL, Deployment, Stage

_MOST_EXCHANGES = 3
"""For one refusal. Codex runs its command 25 times; two of them begin together, and a refusal is kept for seconds."""
_ATTEMPTS = 3
"""A machine that is so busy that a token of seconds ends before its first call gets another one, twice."""
_LATE_IN_A_MINUTE = range(35, 51)
"""The second at which a minute's quota is used up, so that the wait for the next minute is short, and long enough to tell."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a case came to. said: by its last step. seen: the requests of that step. seconds: that it took."""

    said: Description
    seen: tuple[Seen, ...]
    seconds: float


class CaseSetupError(RuntimeError):
    """What a case needs before its last step did not happen; the text says what did."""


@dataclass(slots=True)
class Play:
    """A client on the stage. proxied: the same one below `keybroker exec --proxy`, on the brief deployment."""

    client: Client
    talk: Conversation
    proxied: Conversation | None
    stage: Stage

    def all(self) -> Mapping[str, Outcome]:
        """Play every case that this client has; raises CaseSetupError, or SilentClientError."""
        found = {"plain": self._one("plain"), "refused": self._one("plain", NARROW)}
        if self.client.shows_pieces:
            found["streamed"] = self._one("streamed")
        found["quota"] = self._second(ONCE)
        found["revoked"] = self._second(EVERYTHING, revoke=True)
        ending = self._ending() if _until_late() > 3 * TTL else {}  # the clients wait in it, and so would we
        found["minute"] = self._minute()
        return {**found, **(ending or self._ending())}

    def _one(self, step: str, owner: str = EVERYTHING) -> Outcome:
        return self._last(self.stage.lasting, self._means(self.stage.lasting, owner)[0], step)

    def _minute(self) -> Outcome:
        """Use up a minute's quota with the first call, and make another."""
        for _ in range(_ATTEMPTS):
            time.sleep(_until_late())
            outcome = self._second(SLOWLY)
            if [one.status for one in outcome.seen] != [200]:
                return outcome
        raise CaseSetupError("the next minute began before the second call, again and again")

    def _second(self, owner: str, *, revoke: bool = False) -> Outcome:
        """Make a call that is admitted, and then one that is not."""
        deployment = self.stage.lasting
        means, repository = self._means(deployment, owner)
        self._first(deployment, means)
        if revoke:
            deployment.running.revoke("principal", deployment.running.sub(repository))
        return self._last(deployment, means)

    def _ending(self) -> Mapping[str, Outcome]:
        """Call, let the token's life end, and call again: every way at once, for they only wait."""
        deployment = self.stage.brief
        ways: dict[str, Mapping[str, Any]] = {}
        refreshing, repository = self._refreshing(deployment)
        if refreshing:
            ways["refreshed"] = refreshing
            self._first(deployment, refreshing)
        if self.proxied is not None:
            ways["proxied"] = {"client": "bare"}
            self._first(deployment, ways["proxied"], self.proxied)
        if "fixed" in self.client.ways:
            ways["expired"] = self._started(deployment)
        time.sleep(TTL + 1)
        found = {}
        for case, means in ways.items():
            self._replace_file(deployment, means, repository)
            found[case] = self._last(deployment, means, talk=self.proxied if case == "proxied" else None)
        if refreshing:
            found["no_more"] = self._no_more(deployment, refreshing, repository)
        return found

    def _no_more(self, deployment: Deployment, means: Mapping[str, Any], repository: str) -> Outcome:
        """Take the principal's access away and let its token end, so that the next one is refused; then give it back."""
        revocation = deployment.running.revoke("principal", deployment.running.sub(repository))
        time.sleep(TTL + 1)
        self._replace_file(deployment, means, repository)
        principal = quote(deployment.running.sub(repository), safe="")
        refused = f"/admin/audit?kind=token.refused&principal={principal}&limit=200"
        before = len(deployment.running.administer("GET", refused).json["items"])
        outcome = self._last(deployment, means)
        asked = len(deployment.running.administer("GET", refused).json["items"]) - before
        if not 1 <= asked <= _MOST_EXCHANGES:
            raise CaseSetupError(f"the broker was asked {asked} times for a token that it refuses")
        assert deployment.running.administer("DELETE", f"/admin/revocations/{revocation}").status < 300
        return outcome

    def _started(self, deployment: Deployment) -> Mapping[str, Any]:
        for _ in range(_ATTEMPTS - 1):
            means, _ = self._means(deployment, EVERYTHING)
            try:
                self._first(deployment, means)
            except CaseSetupError:
                continue
            return means
        means, _ = self._means(deployment, EVERYTHING)
        self._first(deployment, means)
        return means

    def _refreshing(self, deployment: Deployment) -> tuple[Mapping[str, Any], str]:
        """Return the means of the way that gets its own tokens, if there is one, and whose they are."""
        if "exchange" in self.client.ways:
            return self._means(deployment, EVERYTHING)
        if "refreshed" not in self.client.ways:
            return {}, ""
        return {"client": "refreshed", "base_url": deployment.url + self.client.path}, RUNNER

    def _means(self, deployment: Deployment, owner: str) -> tuple[Mapping[str, Any], str]:
        """Return what opens the edge for a new repository of this owner, and the repository's id."""
        repository, key = next(self.stage.next_repository), self.client.key
        base_url = deployment.url + self.client.path
        if "fixed" in self.client.ways:
            token = deployment.running.token(repository, key, owner=owner)
            return {"client": "fixed", "base_url": base_url, "token": token}, repository
        deployment.identity_token.write_text(deployment.running.mint(repository, repository_owner_id=owner))
        environment = {
            "ANTHROPIC_BASE_URL": base_url,
            "ANTHROPIC_FEDERATION_RULE_ID": f"{key}-{GRANTS[owner]}",
            "ANTHROPIC_ORGANIZATION_ID": "keybroker",
            "ANTHROPIC_IDENTITY_TOKEN_FILE": str(deployment.identity_token),
        }
        return {"client": "bare", "environment": environment, "number": repository}, repository

    def _replace_file(self, deployment: Deployment, means: Mapping[str, Any], repository: str) -> None:
        """Replace the identity token in the file before it expires, as the platform that writes it does."""
        if "environment" in means:
            deployment.identity_token.write_text(deployment.running.mint(repository))

    def _first(self, deployment: Deployment, means: Mapping[str, Any], talk: Conversation | None = None) -> None:
        outcome = self._last(deployment, means, talk=talk)
        if outcome.said.text != SENTENCE:
            raise CaseSetupError(f"the first call: {outcome.said} {outcome.seen}")

    def _last(
        self, deployment: Deployment, means: Mapping[str, Any], step: str = "plain", *, talk: Conversation | None = None
    ) -> Outcome:
        deployment.relay.seen.clear()
        began = time.monotonic()
        said = (talk or self.talk).ask(step, **means)
        return Outcome(said, tuple(deployment.relay.seen), time.monotonic() - began)


def _until_late() -> float:
    """Return the seconds until it is late in a minute: 0 if it is."""
    second = time.time() % 60
    return 0.0 if int(second) in _LATE_IN_A_MINUTE else (_LATE_IN_A_MINUTE.start - second) % 60
