"""The embedded services: whatever has no configured URL runs as a child process on this machine.

    web process (LocalServices) ──stdin pipe──> supervisor ──> milvus-lite server, redis-server, worker

`services` is the web process's side. `supervisor` is the process in between: it outlives a killed web process just
long enough to stop the services. It imports little, so that it starts fast and stays small.
"""

from kb.local.run_state import ServiceState
from kb.local.services import LocalServices

__all__ = ["LocalServices", "ServiceState"]
