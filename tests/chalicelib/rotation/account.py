"""A provider's account in this process, with the faults that a provider or a process can have at any step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from chalicelib.providers.keys import ProviderKey
from chalicelib.providers.probing import Probed
from chalicelib.providers.versions import KeyInfo
from chalicelib.rotation.management import CreatedKey, ListedKey, ManagementError


class KilledError(BaseException):
    """The process is gone: nothing of it runs any more, no clean-up either."""


@dataclass
class Account:
    """`KeyManagement` and `KeyProbe`. before and after: called around each step with its name; what they raise happens then."""

    live: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name and value by id."""
    before: Callable[[str], None] = lambda _step: None
    after: Callable[[str], None] = lambda _step: None
    hidden: int = 0
    """How many lists do not show a new key yet."""
    slow_to_accept: int = 0
    """How many probes refuse a new key yet."""
    made: int = 0
    values: list[str] = field(default_factory=list)

    def create(self, name: str) -> CreatedKey:
        """See `KeyManagement.create`."""
        self.before("create")
        self.made += 1
        key = CreatedKey(f"key-{self.made}", f"sk-canary-{self.made:04}-0123456789abcdef")
        self.live[key.id] = (name, key.value)
        self.values.append(key.value)
        self.after("create")
        return key

    def named(self, prefix: str) -> tuple[ListedKey, ...]:
        """See `KeyManagement.named`."""
        self.before("list")
        found = [ListedKey(key_id, name, 0) for key_id, (name, _) in self.live.items() if name.startswith(prefix)]
        if found and self.hidden:
            self.hidden -= 1
            found = found[:-1]
        self.after("list")
        return tuple(found)

    def delete(self, key_id: str) -> None:
        """See `KeyManagement.delete`."""
        self.before("delete")
        self.live.pop(key_id, None)
        self.after("delete")

    def probe(self, key: ProviderKey, provider: str) -> tuple[Probed, str]:  # noqa: ARG002  the port's
        """See `KeyProbe.probe`."""
        self.before("probe")
        works = self.accepts(key.value) and not self.slow_to_accept
        self.slow_to_accept = max(0, self.slow_to_accept - 1)
        self.after("probe")
        return (Probed.WORKS, "status_200") if works else (Probed.REFUSED, "status_401")

    def accepts(self, value: str) -> bool:
        """Whether a call with this value is answered."""
        return value in {one for _, one in self.live.values()}

    def names(self) -> list[str]:
        """Return the names of all live keys."""
        return sorted(name for name, _ in self.live.values())


class Everybodys:
    """`chalicelib.rotation.accounts.Accounts`, all of which are one account."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def __call__(self, _info: KeyInfo) -> Account:
        """See `Accounts`."""
        return self.account

    def of(self, *_about: object) -> Account:
        """See `Accounts.of`."""
        return self.account


def failing(step: str, times: int = 1, kind: type[BaseException] = ManagementError) -> Callable[[str], None]:
    """Return what raises at a step, so many times."""
    left = [times]

    def act(now: str) -> None:
        if now == step and left[0]:
            left[0] -= 1
            raise kind("status_500")

    return act
