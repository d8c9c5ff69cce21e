"""What a start puts in force: a file and the environment the first time, or by an explicit word. What is in force stays.

What is passed over is logged and audited where it differs from what is in force; never a value.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from chalicelib.admin import key_request
from chalicelib.audit import Event
from chalicelib.errors import MalformedRequest
from chalicelib.policy import compile as policy
from chalicelib.policy.compile import InstallationRules, InvalidPolicyError, Policy
from chalicelib.providers.errors import ProviderKeyNotSet
from chalicelib.providers.keys import ProviderKey
from chalicelib.providers.origins import Origins
from chalicelib.providers.versions import KeyInfo, KeyVersion
from local.errors import NoPolicyYet, PolicyInForceUnusable, PolicyUnreadable, ProviderKeyMissing
from local.practice import policy as practice
from local.provider_key_file import ProviderKeyFile, is_practice
from local.provider_keys import management_name
from local.signing_key_file import SigningKeyFile
from local.sqlite.control import SqliteControl
from local.sqlite.ledger import SqliteLedger

VARIABLE = "KEYBROKER_KEY_"
"""What the names of the variables with keys begin with."""
_LOG = logging.getLogger("keybroker")


@dataclass(frozen=True, slots=True)
class Start:
    """One start over a state file that exists. event: makes an audit event. practising: whether the practice parts run."""

    control: SqliteControl
    ledger: SqliteLedger
    file: ProviderKeyFile
    event: Callable[[str, Mapping[str, str]], Event]
    rules: InstallationRules
    practising: bool

    def policy(self, given: Path | None, *, apply: bool) -> Policy:
        """Put a policy in force if none is, or if `apply` says so, and return the one in force.

        Raises InvalidPolicyError; Unavailable if there is none, it cannot be read, or the one in force is no use any more.
        """
        current = self.control.current()
        stays = bool(current.version) and not (apply and given)
        if stays and given:
            self._pass_over_policy(given, current.text, current.version)
        sent = (current.text, "the policy in force") if stays else first_policy(given, practising=self.practising)
        try:
            parsed = policy.parse(*sent, self.rules)
        except InvalidPolicyError as fault:
            if not stays:
                raise
            raise PolicyInForceUnusable(hint=f"{fault.faults[0]}; name another with --policy FILE --apply") from fault
        # The same text is another policy where a preset or the practice issuer's URL has changed.
        if sent[0] != current.text or not self.control.holds(parsed):
            self.control.apply(parsed, sent[0], current.version, self.event("policy.applied", {"file": sent[1]}))
        return parsed

    def signing_keys(self, file: SigningKeyFile) -> None:
        """List the file's signing keys if the state lists none of them: at the first start, and where the file was replaced.

        Else they stay as they are listed, unless the one that signs is not in the file. What is in the file and not listed then,
        a step has left over that was cut off: it is deleted. Raises Unavailable.
        """
        with file.alone():
            self._list_signing_keys(file)
            file.keep_only(self.control.signing_key_list().live)

    def _list_signing_keys(self, file: SigningKeyFile) -> None:
        listed = self.control.signing_key_list()
        here = tuple(kid for kid in file.published() if kid not in listed.tainted)
        kept = tuple(kid for kid in listed.live if kid in here)
        if (listed.signs or file.kid()) in kept:
            return
        if not listed.live and not listed.tainted:
            self.control.list_signing_keys(here)
            return
        # SECURITY: a file in which all keys are tainted gets a new one (test_a_tainted_key_stays_so_after_a_restore).
        live = kept or here or (file.spare(frozenset(listed.tainted)),)
        changed = listed._replace(live=live, signs=live[-1]) if kept else listed.only(live)
        detail = {"kid": live[-1], "cause": "the key that signed is not in the file any more, or is tainted"}
        self.control.change_signing_keys(listed, changed, self.event("signing.activated", detail))

    def practice_keys(self, parsed: Policy, keys: Mapping[str, ProviderKey]) -> None:
        """Put made-up keys in force, which are new at each start. keys: by name."""
        for name, key in keys.items():
            if name not in parsed.federated:
                self._set_key(name, key, parsed.keys[name])

    def keys(self, parsed: Policy, environment: Mapping[str, str], *, set_keys: bool) -> None:
        """Put keys of the environment in force that were never set, or differ if `set_keys` says so."""
        # SECURITY: a left-over practice key is deleted: any program on this machine could be its provider by now
        # (test_practice_keys_are_no_real_ones).
        self.file.forget_practice_keys()
        names = {_variable(name): name for name in parsed.keys}
        for variable in sorted(one for one in environment if one.startswith(VARIABLE) and environment[one]):
            info = self.control.key_info(names[variable]) if variable in names else None
            if info is None:
                _warn("key_passed_over", variable=variable[:100], detail="the policy names no such key")
            elif info.federated is not None:
                _warn("key_passed_over", variable=variable[:100], detail="the policy has this key federated")
            else:
                self._key_of_environment(info, variable, environment[variable], set_keys=set_keys)

    def tidy_keys(self, parsed: Policy) -> None:
        """Delete every version but the one in force and the one before it, unless the one in force is not there."""
        for name in parsed.keys:
            info = self.control.key_info(name)
            current = info.current if info else None
            version = current.version if current else ""
            before = current.before.version if current and current.before else ""
            if version and not self.file.keep_only(name, version, before) and not _was_practice(info):
                text = "its version in force has no value here, and no other was deleted: set it again"
                _warn("provider_key_missing", key=name, version=version, detail=text)
            if info and info.management:
                self.file.keep_only(management_name(name), info.management.version)

    def _key_of_environment(self, info: KeyInfo, variable: str, value: str, *, set_keys: bool) -> None:
        info = replace(info, current=None) if _was_practice(info) else info
        try:
            key = key_request.read({"value": value}, info, Origins(), f"environment-{secrets.token_hex(4)}")
        except MalformedRequest as fault:  # its text quotes nothing
            _warn("key_passed_over", variable=variable, key=info.name, detail=fault.description)
            return
        if info.current is None:
            self._set_key(info.name, key, info.provider)
        elif not self._is_in_force(info.name, info.current.version, key):
            if set_keys:
                self._set_key(info.name, key, info.provider)
            else:
                self._pass_over_key(info.name, variable, info.current)

    def _is_in_force(self, name: str, version: str, key: ProviderKey) -> bool:
        try:
            return self.file.get(name, version).value == key.value
        except (ProviderKeyNotSet, ProviderKeyMissing):
            return False  # an older state file; the value may be that of any version

    def _set_key(self, name: str, key: ProviderKey, provider: str) -> None:
        self.file.put(name, key)
        event = self.event("key.set", {"version": key.version, "origin": key.origin, "header": key.header})
        version = KeyVersion(key.version, key.origin, key.header, event.actor, event.at, key.prefix, provider)
        with self.file.superseding(name, key.version):
            self.control.set_key(name, version, replace(event, key=name))

    def _pass_over_policy(self, given: Path, in_force: str, version: int) -> None:
        try:
            if read_policy(given)[0] == in_force:
                return
            text = "it differs from the policy in force, which stays: serve --apply, or policy apply, puts it in force"
        except PolicyUnreadable:
            text = "it cannot be read; the policy in force stays"
        detail = {"file": str(given), "version": str(version)}
        self.ledger.record(self.event("policy.kept", detail))
        _warn("policy_passed_over", **detail, detail=text)

    def _pass_over_key(self, name: str, variable: str, current: KeyVersion) -> None:
        detail = {"variable": variable, "version": current.version, "origin": current.origin}
        self.ledger.record(replace(self.event("key.kept", detail), key=name))
        text = "its value differs from the key in force, which stays: serve --set-keys, or keys set, puts it in force"
        _warn("key_passed_over", key=name, **detail, detail=text)


def first_policy(given: Path | None, *, practising: bool) -> tuple[str, str]:
    """Return the text and the name of a first policy; raises Unavailable if there is none, or it cannot be read."""
    if given is not None:
        return read_policy(given)
    if not practising:
        raise NoPolicyYet
    return practice.POLICY, "the practice policy"


def read_policy(path: Path) -> tuple[str, str]:
    """Return a policy file's text and name; raises PolicyUnreadable."""
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyUnreadable(hint=str(error)) from error


def _variable(name: str) -> str:
    return f"{VARIABLE}{name.upper().replace('-', '_')}"


def _was_practice(info: KeyInfo | None) -> bool:
    return info is not None and info.current is not None and is_practice(info.current.origin)


def _warn(reason: str, **about: str) -> None:
    _LOG.warning(json.dumps({"door": "start", "reason": reason, **about}))
