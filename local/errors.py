"""What keeps Keybroker from running on one machine. Each tells its operator what to do: `hint`."""

from __future__ import annotations

from chalicelib.errors import OperatorNeeded, Unavailable


class NoStateDirectory(OperatorNeeded, reason="no_state_directory"):
    """There is no state directory here. Start the servers once, or name the directory."""


class RealKeysHere(OperatorNeeded, reason="real_keys_here"):
    """The directory holds real provider keys, and the practice parts run. Start with --no-practice."""


class StateFileMissing(OperatorNeeded, reason="state_file_missing"):
    """The state file is gone while its signing key is there. Put it back, or start afresh."""


class StateFileReplaced(Unavailable, reason="state_file_replaced"):
    """Another file lies where the state file was. Start the servers again."""


class StateFileNewer(OperatorNeeded, reason="state_file_newer"):
    """A newer Keybroker made the state file. Run that one, or a newer."""


class StateFileOlder(OperatorNeeded, reason="state_file_older"):
    """An older Keybroker made the state file. Start the servers once: that brings it up to date."""


class StateInUse(OperatorNeeded, reason="state_in_use"):
    """Another server uses this state directory. Stop that one, or name another directory."""


class StateOpenToOthers(OperatorNeeded, reason="state_open_to_others"):
    """Others on this machine may change the state. Close it to them."""


class StateOfAnotherUser(OperatorNeeded, reason="state_of_another_user"):
    """The state directory belongs to another user. Run the command as that user."""


class RestoreInterrupted(OperatorNeeded, reason="restore_interrupted"):
    """A restore or a seal was cut off. Start the server, or run the command again: either finishes it."""


class BackupUnusable(OperatorNeeded, reason="backup_unusable"):
    """A backup is cut off, damaged or none, and nothing was restored. Take another one."""


class BackupNewer(OperatorNeeded, reason="backup_newer"):
    """A newer Keybroker made the backup, and nothing was restored. Run that one, or a newer."""


class BackupUnwritable(OperatorNeeded, reason="backup_unwritable"):
    """The backup cannot be written, and none was made. Make room, or name another place."""


class NoPolicyYet(OperatorNeeded, reason="no_policy_yet"):
    """The directory has no policy, and none was named. Start with --policy FILE."""

    def __init__(self) -> None:
        super().__init__(hint="there is no policy in force yet: start with --policy FILE")


class PolicyInForceUnusable(OperatorNeeded, reason="policy_in_force_unusable"):
    """The policy in force cannot be used by this start, such as one for practice without it. Start with --policy FILE --apply."""


class PolicyUnreadable(OperatorNeeded, reason="policy_unreadable"):
    """The policy file cannot be read."""


class PricesUnusable(OperatorNeeded, reason="prices_unusable"):
    """The file of models' prices cannot be read, or is malformed. Mend it, or name none: the prices that came along serve then."""


class SecretFileOpenToOthers(OperatorNeeded, reason="secret_file_open_to_others"):
    """Others on this machine can read a file of secrets. Close it to them (mode 0600)."""


class SecretFileTooLarge(OperatorNeeded, reason="secret_file_too_large"):
    """A file of secrets is over 1 MiB."""


class SecretFileUnreadable(OperatorNeeded, reason="secret_file_unreadable"):
    """A file of secrets is missing, or cannot be read."""


class PassphraseUnusable(OperatorNeeded, reason="passphrase_unusable"):
    """A file of keys is sealed, and its passphrase is missing, too short or another. Name the right one."""


class KmsKeyUnusable(OperatorNeeded, reason="kms_key_unusable"):
    """A file of keys is sealed by a KMS key that is not named, or that KMS does not let us use. Name it, or allow it."""


class KmsUnavailable(Unavailable, reason="kms_unavailable"):
    """KMS did not answer in time, and a file of keys is sealed by a key of it. Retry."""


class AdministratorMalformed(OperatorNeeded, reason="administrator_malformed"):
    """An administrator's file holds no credentials. Remove the administrator, and add them again."""


class AwsCallersMalformed(OperatorNeeded, reason="aws_callers_malformed"):
    """aws-callers.json is not a list of callers."""


class FederationKeysUnusable(OperatorNeeded, reason="federation_keys_unusable"):
    """The file of the keys that prove this installation to providers, or of an App's key, is missing or is no such file."""


class ProviderKeyMissing(OperatorNeeded, reason="provider_key_missing"):
    """The file of provider keys has no such key, or is malformed. Set the key again."""


class TooFewDescriptors(OperatorNeeded, reason="too_few_descriptors"):
    """The limit of open files is too low to serve. Raise it (ulimit -n)."""


class TlsUnusable(OperatorNeeded, reason="tls_unusable"):
    """Certificate or key of the configuration cannot be used. Mend the files; SIGHUP reads them again."""


class CertificateExpired(OperatorNeeded, reason="certificate_expired"):
    """The certificate of the configuration has expired. Renew it; SIGHUP reads it again."""


class StageUnusable(OperatorNeeded, reason="stage_unusable"):
    """AWS answers that a table or the signing key of the stage is not there, or not for this role. Mend the name, the region or the role."""


class PartDidNotStart(OperatorNeeded, reason="part_did_not_start"):
    """One of the servers did not start in time; what it printed says why."""
