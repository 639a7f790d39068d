"""Runs one command of `zhiwen`, and decides how it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from kb.cli.parser import parse
from kb.cli.printing import CommandFailed, print_json
from kb.errors import KbError, fill

if TYPE_CHECKING:
    from kb.cli.connecting import OpenQueue  # a call for help need not load the core

FAILED, INTERRUPTED = 1, 130  # 2, for wrong use, is argparse's


def main(arguments: Sequence[str], open_queue: OpenQueue) -> int:
    """Run one command; returns its exit code. `open_queue` tells the workers of new work."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    asked = parse(arguments, version("zhiwen"))
    try:
        code: int = import_module(f"kb.cli.{asked.command}").run(asked, open_queue)
        sys.stdout.flush()
    except (KbError, CommandFailed) as error:
        return _fail(error, asked.json)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `zhiwen search … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:  # of a folder or a file that the command was given, as ZHIWEN_HOME
        detail = error.strerror or type(error).__name__
        return _fail(CommandFailed(f"{error.filename}: {detail}" if error.filename else detail), asked.json)
    return code


def _fail(error: KbError | CommandFailed, as_json: bool) -> int:
    if not as_json:
        print(f"zhiwen: {error}", file=sys.stderr)
    elif isinstance(error, KbError):
        texts = {"message": fill(error.message, error.values), "remedy": fill(error.remedy, error.values)}
        print_json({"error": {"code": error.code, **texts}})
    else:
        print_json({"error": {"code": "command_failed", "message": str(error), "remedy": ""}})
    return FAILED
