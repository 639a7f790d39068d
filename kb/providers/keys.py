"""API keys as the database keeps them: encrypted under a key that is not in it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from pydantic import SecretStr

from kb.config import Settings
from kb.errors import N_, SetupError

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

KEY_FILE = "secret.key"


class KeySafe:
    """Encrypts and decrypts under SECRET_KEY or, without it, a file in ZHIWEN_HOME that only its owner can read.

    The file is made when it is first needed; several processes may do so at once.
    """

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.secret_key.get_secret_value()
        self._file = settings.home / KEY_FILE

    def encrypt(self, key: SecretStr) -> str:
        """What to store; an empty key stays empty. Errors: `SetupError` if the key file cannot be used."""
        plain = key.get_secret_value()
        return self._fernet.encrypt(plain.encode()).decode() if plain else ""

    def decrypt(self, stored: str) -> SecretStr | None:
        """The key; None if it was encrypted under another secret, or the key file is gone."""
        from cryptography.fernet import InvalidToken

        if not stored:
            return SecretStr("")
        if not (self._secret or self._file.exists()):
            return None
        try:
            return SecretStr(self._fernet.decrypt(stored.encode()).decode())
        except (InvalidToken, SetupError):
            return None

    def derive(self, purpose: str) -> bytes:
        """A secret for another purpose, the same in all processes. Errors: `SetupError` as for `encrypt`."""
        return hmac.digest(self._key, purpose.encode(), "sha256")

    @property
    def _fernet(self) -> Fernet:
        from cryptography.fernet import Fernet

        return Fernet(self._key)

    @cached_property
    def _key(self) -> bytes:
        """What Fernet takes: 32 bytes in Base64."""
        from cryptography.fernet import Fernet

        if self._secret:
            # A passphrase of any length; one that is guessed easily is the installation's own risk.
            return base64.urlsafe_b64encode(hashlib.sha256(self._secret.encode()).digest())
        try:
            key = self._file.read_bytes() if self._file.exists() else self._create_file()
            Fernet(key)
            return key
        except (OSError, ValueError) as error:
            raise SetupError(
                N_("The key file {file} cannot be used ({detail})."),
                N_("Restore it from a backup, or delete it and enter the API keys again on the Models page."),
                file=self._file,
                detail=error,
            ) from error

    def _create_file(self) -> bytes:
        """A new key in the file; the one of another process that was faster."""
        from cryptography.fernet import Fernet

        self._file.parent.mkdir(parents=True, exist_ok=True)
        # Complete before it has its name, so that nobody reads half a key.
        draft = self._file.with_name(f"{KEY_FILE}.{uuid4().hex}")
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(Fernet.generate_key())
                file.flush()
                os.fsync(file.fileno())
            self._publish(draft)
        finally:
            draft.unlink(missing_ok=True)
        return self._file.read_bytes()

    def _publish(self, draft: Path) -> None:
        try:
            os.link(draft, self._file)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            if not self._file.exists():
                draft.replace(self._file)
