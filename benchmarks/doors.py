"""Who gets in where: `python -m benchmarks.doors`.

Every page, route, websocket, call of the APIs and tool of MCP is tried by everybody: a stranger, a suspended user,
another user, viewer, editor, owner, administrator, and keys that are expired, revoked, without the scope or for another
knowledge base. A temporary installation with a login is behind the doors. Printed at the end:

doors  how many there are (the tests fail if one is not tried)
roles  kinds of people and keys
calls  door by role
wrong  where one gets in who may not, does not who may, or sees what they may not know of

Each wrong one is on a line of its own. The exit code is 1 if there is one.
"""

from __future__ import annotations

import json
import sys
import time

from benchmarks.installation import POLL_SECONDS, START_SECONDS, temporary_home
from kb.access import Principal
from kb.config import load_settings
from kb.models import Document
from pages.ui import resources
from tests.doors.people import People, Role
from tests.doors.table import DOORS
from tests.doors.trying import Trial
from tests.fakes.model_server import ModelServer
from web.app import build_web


def main() -> None:
    with temporary_home() as home, ModelServer() as models:
        settings = load_settings(zhiwen_home=home, openai_base_url=models.base_url, llm_model="fake")
        resources.provide(lambda: build_web(settings, has_login=True))
        try:
            trial = Trial(People(resources.services(), wait_until_ready))
            wrong = trial.run()
        finally:
            resources.close()
    for each in wrong:
        print(f"{each.door}, {each.role}: {each.found}, not {each.expected}")
    print(json.dumps({"doors": len(DOORS), "roles": len(Role), "calls": trial.calls, "wrong": len(wrong)}))
    sys.exit(bool(wrong))


def wait_until_ready(principal: Principal, document: Document) -> None:
    """Until the worker has done it."""
    services = resources.services()
    deadline = time.monotonic() + START_SECONDS
    while services.documents.get(principal, document.id).latest.state.is_pending and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
