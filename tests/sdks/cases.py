"""What each client is put through, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.practice.completions import SENTENCE
from tests.sdks.clients import Client
from tests.sdks.conversation import Conversation, Description
from tests.sdks.relay import Seen
from tests.sdks.stage import EVERYTHING, GRANTS, NARROW, ONCE, RUNNER, SLOWLY, TTL, Place, Stage

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


class Spoilt(RuntimeError):  # noqa: N818  it says what became of the case
    """What a case needs before its last step did not happen; the text says what did."""


@dataclass(slots=True)
class Play:
    """A client on the stage. proxied: the same one below `keybroker exec --proxy`, on the brief place."""

    client: Client
    talk: Conversation
    proxied: Conversation | None
    stage: Stage

    def all(self) -> Mapping[str, Outcome]:
        """Play every case that this client has; raises Spoilt, or Mute."""
        found = {"plain": self._one("plain"), "streamed": self._one("streamed"), "refused": self._one("plain", NARROW)}
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
        raise Spoilt("the next minute began before the second call, again and again")

    def _second(self, owner: str, *, revoke: bool = False) -> Outcome:
        """Make a call that is admitted, and then one that is not."""
        place = self.stage.lasting
        means, repository = self._means(place, owner)
        self._first(place, means)
        if revoke:
            place.running.revoke("principal", place.running.sub(repository))
        return self._last(place, means)

    def _ending(self) -> Mapping[str, Outcome]:
        """Call, let the token's life end, and call again: every way at once, for they only wait."""
        place = self.stage.brief
        ways: dict[str, Mapping[str, Any]] = {}
        refreshing, repository = self._refreshing(place)
        if refreshing:
            ways["refreshed"] = refreshing
            self._first(place, refreshing)
        if self.proxied is not None:
            ways["proxied"] = {"client": "bare"}
            self._first(place, ways["proxied"], self.proxied)
        if "fixed" in self.client.ways:
            ways["expired"] = self._started(place)
        time.sleep(TTL + 1)
        found = {}
        for case, means in ways.items():
            self._replace_file(place, means, repository)
            found[case] = self._last(place, means, talk=self.proxied if case == "proxied" else None)
        if refreshing:
            found["no_more"] = self._no_more(place, refreshing, repository)
        return found

    def _no_more(self, place: Place, means: Mapping[str, Any], repository: str) -> Outcome:
        """Take the principal's access away and let its token end, so that the next one is refused; then give it back."""
        revocation = place.running.revoke("principal", place.running.sub(repository))
        time.sleep(TTL + 1)
        self._replace_file(place, means, repository)
        outcome = self._last(place, means)
        assert place.running.administer("DELETE", f"/admin/revocations/{revocation}").status < 300
        return outcome

    def _started(self, place: Place) -> Mapping[str, Any]:
        for _ in range(_ATTEMPTS - 1):
            means, _ = self._means(place, EVERYTHING)
            try:
                self._first(place, means)
            except Spoilt:
                continue
            return means
        means, _ = self._means(place, EVERYTHING)
        self._first(place, means)
        return means

    def _refreshing(self, place: Place) -> tuple[Mapping[str, Any], str]:
        """Return the means of the way that gets its own tokens, if there is one, and whose they are."""
        if "exchange" in self.client.ways:
            return self._means(place, EVERYTHING)
        if "refreshed" not in self.client.ways:
            return {}, ""
        return {"client": "refreshed", "base_url": place.url + self.client.path}, RUNNER

    def _means(self, place: Place, owner: str) -> tuple[Mapping[str, Any], str]:
        """Return what opens the edge for a new repository of this owner, and the repository's id."""
        repository, key = next(self.stage.next_repository), self.client.key
        base_url = place.url + self.client.path
        if "fixed" in self.client.ways:
            token = place.running.token(repository, key, owner=owner)
            return {"client": "fixed", "base_url": base_url, "token": token}, repository
        place.identity_token.write_text(place.running.mint(repository, repository_owner_id=owner))
        environment = {
            "ANTHROPIC_BASE_URL": base_url,
            "ANTHROPIC_FEDERATION_RULE_ID": f"{key}-{GRANTS[owner]}",
            "ANTHROPIC_ORGANIZATION_ID": "keybroker",
            "ANTHROPIC_IDENTITY_TOKEN_FILE": str(place.identity_token),
        }
        return {"client": "bare", "environment": environment, "number": repository}, repository

    def _replace_file(self, place: Place, means: Mapping[str, Any], repository: str) -> None:
        """Do as whoever keeps an identity token in a file does: put another one there before it ends."""
        if "environment" in means:
            place.identity_token.write_text(place.running.mint(repository))

    def _first(self, place: Place, means: Mapping[str, Any], talk: Conversation | None = None) -> None:
        outcome = self._last(place, means, talk=talk)
        if outcome.said.text != SENTENCE:
            raise Spoilt(f"the first call: {outcome.said} {outcome.seen}")

    def _last(
        self, place: Place, means: Mapping[str, Any], step: str = "plain", *, talk: Conversation | None = None
    ) -> Outcome:
        place.relay.seen.clear()
        began = time.monotonic()
        said = (talk or self.talk).ask(step, **means)
        return Outcome(said, tuple(place.relay.seen), time.monotonic() - began)


def _until_late() -> float:
    """Return the seconds until it is late in a minute: 0 if it is."""
    second = time.time() % 60
    return 0.0 if int(second) in _LATE_IN_A_MINUTE else (_LATE_IN_A_MINUTE.start - second) % 60
