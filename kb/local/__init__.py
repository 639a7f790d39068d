"""The embedded services: what has no URL configured runs as child processes on this machine, with the web process.

    web process (LocalServices) ──stdin pipe──> supervisor ──> milvus-lite server, redis-server, worker

`services` is the web's side; `supervisor` is the process in between, which outlives a killed web process just long
enough to end the services. Everything here but the lock needs no more than the standard library, so that the
supervisor starts fast and stays small.
"""

from kb.local.run_state import ServiceState
from kb.local.services import LocalServices

__all__ = ["LocalServices", "ServiceState"]
