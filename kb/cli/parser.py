"""The commands of `zhiwen` and their arguments. Each is run by the module of its name in this package."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

# Commands whose options are those of the program that they become.
PASS_OPTIONS_ON = ("run", "worker")

MOST_PASSAGES = 100
# A test holds them equal to kb.models.UserRole and kb.access.KeyScope: a call for help need not load the core.
ROLES = ("member", "administrator")
SCOPES = ("read", "ask", "write", "admin")
LONGEST_DAYS = 3650

_PASSWORD = "The password is asked for, or read from standard input where that is no terminal."

Commands = Any  # what `add_subparsers` returns; argparse gives its type no public name


def build_parser(version: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zhiwen",
        description="Ask your documents, and see why each answer was found.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted. More: zhiwen COMMAND --help",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"zhiwen {version}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    _add_run(commands)
    _add_worker(commands)
    _add_doctor(commands)
    _add_ingest(commands)
    _add_search(commands)
    _add_ask(commands)
    _add_mcp(commands)
    _add_user(commands)
    _add_key(commands)
    _add_backup(commands)
    _add_restore(commands)
    return parser


def parse(arguments: Sequence[str], version: str) -> argparse.Namespace:
    """What is asked; `options` are those to pass on. Ends the process for wrong use (2), help and version (0)."""
    parser = build_parser(version)
    asked, options = parser.parse_known_args(arguments)
    if options and asked.command not in PASS_OPTIONS_ON:
        parser.error(f"unrecognized arguments: {' '.join(options)}")
    asked.options = options
    return asked


def _add(commands: Commands, name: str, purpose: str, description: str = "") -> argparse.ArgumentParser:
    """A command that prints text or JSON."""
    parser = _add_program(commands, name, purpose, description)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _add_program(commands: Commands, name: str, purpose: str, description: str) -> argparse.ArgumentParser:
    """A command that becomes another program, or talks to one."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}. {description}", allow_abbrev=False
    )
    parser.set_defaults(json=False)
    return parser


def _add_group(commands: Commands, name: str, purpose: str) -> Commands:
    """A command that consists of commands, each with options of its own."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.", allow_abbrev=False
    )
    return parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)


def _add_run(commands: Commands) -> None:
    parser = _add_program(
        commands,
        "run",
        "start Zhiwen: the pages, and each service that no setting names",
        "Options go to streamlit: see streamlit run --help.",
    )
    parser.usage = "zhiwen run [--server.port=8600] [STREAMLIT OPTION ...]"


def _add_worker(commands: Commands) -> None:
    parser = _add_program(
        commands,
        "worker",
        "start a worker; needs MILVUS_URI and REDIS_URL",
        "By itself, zhiwen run starts one for the embedded services. Options go to dramatiq: see dramatiq --help.",
    )
    parser.usage = "zhiwen worker [--processes 2] [--threads 4] [DRAMATIQ OPTION ...]"


def _add_doctor(commands: Commands) -> None:
    _add(
        commands,
        "doctor",
        "check services, versions and settings, and say what to do",
        "Nothing is changed. A language model is asked for one word. Exit code 1 if something failed; what is only to "
        "be looked at does not count.",
    )


def _add_ingest(commands: Commands) -> None:
    parser = _add(
        commands,
        "ingest",
        "upload the new and changed files of a folder",
        "Each file becomes a document with its path below FOLDER as the name. What is there already is not uploaded "
        "again, so an interrupted run can be repeated. Hidden files are passed over. Exit code 1 if a file failed.",
    )
    parser.add_argument("folder", metavar="FOLDER")
    _add_knowledge_base(parser, required=True)
    parser.add_argument("--create", action="store_true", help="create the knowledge base if there is none of this name")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until the workers have processed the files")
    parser.add_argument(
        "--delete-missing", action="store_true", help="delete documents of the knowledge base that FOLDER does not hold"
    )


def _add_search(commands: Commands) -> None:
    parser = _add(
        commands,
        "search",
        "show the passages that a question finds, with their scores",
        "As retrieval testing does: with the settings of the knowledge base, and no language model.",
    )
    parser.add_argument("query", metavar="QUERY")
    _add_knowledge_base(parser, required=True)
    parser.add_argument("--top-k", type=_top_k, metavar="N", help="how many passages, at most (1 to 100)")


def _add_ask(commands: Commands) -> None:
    parser = _add(
        commands,
        "ask",
        "answer a question, then show its sources",
        "Without a knowledge base, the language model answers alone. No conversation is kept.",
    )
    parser.add_argument("question", metavar="QUESTION")
    _add_knowledge_base(parser, required=False)


def _add_mcp(commands: Commands) -> None:
    _add_program(
        commands,
        "mcp",
        "serve tools for language models over standard input and output (MCP)",
        "For a program that starts it; others use /mcp of the running Zhiwen with an API key. Only reads, as whom the "
        "other commands act.",
    )


def _add_user(commands: Commands) -> None:
    actions = _add_group(commands, "user", "list, add and change accounts, also while Zhiwen does not run")
    _add(actions, "list", "list the accounts, those who wait for approval first")
    add = _add(actions, "add", "make an account", f"The first one is the administrator's. {_PASSWORD}")
    invite = _add(actions, "invite", "print a link by which one person makes an account", "It lasts seven days.")
    role = _add(actions, "role", "make a user a member or an administrator")
    approve = _add(actions, "approve", "let in a user who waits for it")
    suspend = _add(actions, "suspend", "sign a user out everywhere and let nobody sign in", "Nothing is deleted.")
    restore = _add(actions, "restore", "let a suspended user sign in again")
    reset = _add(actions, "reset-password", "print a link by which a user sets a new password", "It lasts a day.")
    add.add_argument("name", metavar="NAME")
    for parser in (role, approve, suspend, restore, reset):
        parser.add_argument("name", metavar="NAME", help="the user, by name or id")
    role.add_argument("role", choices=ROLES)
    for parser in (add, invite):
        parser.add_argument("--role", choices=ROLES, default=ROLES[0], help="member unless given")
    reset.add_argument("--ask", action="store_true", help=f"set the password now instead. {_PASSWORD}")


def _add_key(commands: Commands) -> None:
    actions = _add_group(commands, "key", "list, create and revoke API keys, also while Zhiwen does not run")
    keys = _add(actions, "list", "list the API keys of all users")
    create = _add(actions, "create", "create an API key and print it", "It cannot be shown again.")
    revoke = _add(actions, "revoke", "revoke an API key: it is refused at once")
    create.add_argument("name", metavar="NAME", help="what it is for")
    create.add_argument(
        "--scope", action="append", choices=SCOPES, metavar="SCOPE", help=f"{', '.join(SCOPES)}; repeat it (read)"
    )
    create.add_argument(
        "--knowledge-base", "-k", action="append", metavar="NAME", help="only this one, by name or id; repeat it (all)"
    )
    create.add_argument("--days", type=_days, metavar="N", help="expire after N days (never)")
    revoke.add_argument("key", metavar="KEY", help="its id, or how it begins, as zhiwen key list shows them")
    for parser in (keys, create):
        parser.add_argument("--user", metavar="NAME", help="of this user, by name or id")


def _add_backup(commands: Commands) -> None:
    parser = _add(
        commands,
        "backup",
        "write everything that cannot be rebuilt to one file",
        "The database, the uploads and the key file, while Zhiwen runs. Whoever has the file can read the documents.",
    )
    parser.add_argument("file", metavar="FILE", help="a new file; compressed if its name ends with .gz or .tgz")


def _add_restore(commands: Commands) -> None:
    parser = _add(
        commands,
        "restore",
        "restore a backup into an empty home folder",
        "Zhiwen and its workers must not run. The next start indexes the documents again. With DATABASE_URL, into an "
        "empty PostgreSQL database.",
    )
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--force", action="store_true", help="move away what is in the home folder")


def _days(text: str) -> int:
    number = int(text)
    if not 1 <= number <= LONGEST_DAYS:
        raise argparse.ArgumentTypeError(f"{number} is not between 1 and {LONGEST_DAYS}")
    return number


def _top_k(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MOST_PASSAGES:
        raise argparse.ArgumentTypeError(f"{number} is not between 1 and {MOST_PASSAGES}")
    return number


def _add_knowledge_base(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument(
        "--knowledge-base", "-k", metavar="NAME", required=required, help="the knowledge base, by its name or id"
    )
