"""`zhiwen COMMAND …`, or `python -m web COMMAND …`: the composition root of the command line. See `kb.cli`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from kb.cli import main as run_command
from kb.config import Settings

if TYPE_CHECKING:
    from workers.broker import DramatiqQueue


def open_queue(settings: Settings) -> DramatiqQueue:
    from workers.broker import DramatiqQueue, build_broker  # only some commands need it

    return DramatiqQueue(build_broker(settings))


def main() -> None:
    sys.exit(run_command(sys.argv[1:], open_queue))


if __name__ == "__main__":
    main()
