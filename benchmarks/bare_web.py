"""A web process without pages: it owns the embedded services and stays until it is told to end."""

import signal

from kb.config import load_settings
from kb.local import LocalServices


def main() -> None:
    local = LocalServices(load_settings())
    local.start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    local.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
