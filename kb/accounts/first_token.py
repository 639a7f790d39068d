"""The token for the first account: whoever started Zhiwen can read it, and nobody else."""

from __future__ import annotations

import hmac
import os
from contextlib import suppress
from pathlib import Path

from kb.access.tokens import new_token
from kb.home import not_written
from kb.local.set_aside import rename_unusable

FIRST_TOKEN_FILE = "first-account-token"


class FirstToken:
    def __init__(self, home: Path) -> None:
        self._path = home / FIRST_TOKEN_FILE

    def ensure(self) -> str:
        """The token, made at the first call; several processes that share the folder agree on it.

        Errors: `SetupError` if the folder cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.is_dir():
                rename_unusable(self._path)
            if not self._read():
                self._make()
        except OSError as error:
            raise not_written(self._path.parent, error, self._path) from error
        return self._read()

    def _make(self) -> None:
        """Of several at once, the first one's token stays."""
        # Written aside and linked, so that it is there as a whole or not at all.
        aside = self._path.with_name(f"{FIRST_TOKEN_FILE}.{os.getpid()}.{new_token()[:8]}")
        _write(aside)
        try:
            os.link(aside, self._path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            with suppress(FileExistsError):
                _write(self._path)
        finally:
            if not self._read():  # what is there is blank, and would let nobody in
                aside.replace(self._path)
            aside.unlink(missing_ok=True)

    def matches(self, token: str) -> bool:
        kept = self._read()
        return bool(kept) and hmac.compare_digest(kept.encode(), token.strip().encode(errors="replace"))

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

    def _read(self) -> str:
        try:
            return self._path.read_text().strip()
        except (OSError, ValueError):  # none, or none that can be read
            return ""


def _write(path: Path) -> None:
    """A new file with a new token. Errors: `FileExistsError`."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(new_token() + "\n")
