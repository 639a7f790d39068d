"""A full disk, whoever reports it: each library and server says so in its own way."""

from __future__ import annotations

import errno

from kb.errors.base import N_, Unavailable

ITS_DISK_IS_FULL = N_("its disk is full: free up space there")
_FULL = (errno.ENOSPC, errno.EDQUOT)
# The system's, which PostgreSQL, Redis and Milvus repeat; SQLite's; Redis' if it could not save its data.
_SAID = ("no space left on device", "disk quota exceeded", "database or disk is full", "unable to persist to disk")


class DiskFull(Unavailable):
    """No document is to blame for it."""

    message = N_("“{name}” could not be processed: the server's disk is full.")
    remedy = N_("Free up space on the server's disk, then press Retry.")


def is_disk_full(error: BaseException | None) -> bool:
    """Whether `error`, or what caused it, is a full disk."""
    met: set[int] = set()
    while error is not None and id(error) not in met:  # a client that raises its last error again makes a circle
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if any(said in str(error).lower() for said in _SAID):
            return True
        met.add(id(error))
        error = error.__cause__ or error.__context__
    return False
