"""The web process as users start it, on a free port and a data folder of its own."""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import Any

import psutil

from kb.config import Settings
from kb.local.run_state import RunState, read_run_state
from tests import real_services
from tests.real_services import HOST


class Web(real_services.Server):
    """`streamlit run webui_st.py`; `values` are environment variables."""

    start_seconds = 90.0  # on a busy machine

    def __init__(self, folder: Path, **values: str) -> None:
        super().__init__(folder)
        self.home = folder / "home"
        self.home.mkdir()
        own = {name.upper() for name in Settings.model_fields}
        self._environment = {name: value for name, value in os.environ.items() if name not in own}
        self._environment |= {"ZHIWEN_HOME": str(self.home), "ZHIWEN_ENV_FILE": os.devnull}
        self._environment |= {
            "WORKER_THREADS": "1",
            "OPENAI_API_KEY": "none",
            "CONVERSATION_TITLES": "false",  # a test counts the requests that its own questions cause
        } | values

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def run_state(self) -> RunState:
        """What the supervisor last wrote about the embedded services."""
        return read_run_state(self.home / "run" / "services.json")

    def environment(self) -> dict[str, str]:
        return self._environment

    def command(self) -> list[str]:
        options = {"server.port": self.port, "server.headless": "true", "server.address": HOST}
        flags = [f"--{name}={value}" for name, value in options.items()]
        return [sys.executable, "-m", "streamlit", "run", str(real_services.ROOT / "webui_st.py"), *flags]

    def is_ready(self) -> bool:
        try:
            return self.get("/healthz")[0] == 200
        except OSError:
            return False

    def get(self, path: str) -> tuple[int, Message, str]:
        """Return status, headers and body; a 4xx or 5xx status raises no error."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=20) as reply:
                return reply.status, reply.headers, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read().decode()

    def health(self) -> tuple[int, dict[str, Any]]:
        status, _headers, body = self.get("/healthz")
        return status, json.loads(body)

    def family(self) -> list[psutil.Process]:
        """All descendants of the web process."""
        return psutil.Process(self.pid).children(recursive=True)

    def listening_addresses(self) -> set[tuple[str, int]]:
        """The hosts and ports on which this process and its children accept connections."""
        return {
            (connection.laddr.ip.removeprefix("::ffff:"), connection.laddr.port)
            for process in [psutil.Process(self.pid), *self.family()]
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }

    def kill_alone(self) -> list[psutil.Process]:
        """Kill the web process only, with SIGKILL. Returns its descendants."""
        family = self.family()
        assert self._process
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=10)
        self._process = None
        return family


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
