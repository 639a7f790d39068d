"""The command line `zhiwen`, beside or instead of the pages. `web/__main__.py` is its entry.

    parser       the commands and their arguments
    main         runs one, and decides how it ends
    connecting   the services of the running Zhiwen, and who acts
    printing     JSON, lines and progress
    doctor …     a module or package for each command, loaded when it is asked for; its `run` returns the exit code

Its texts are English: the catalogues belong to the pages. `docs/cli.md` lists the exit codes.
"""

from kb.cli.main import main

__all__ = ["main"]
