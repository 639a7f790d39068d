"""Nothing leaves the machine by itself: every connection from the start to the stop, as the kernel saw it."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FilePayload, expect

from kb.config import Settings
from tests.e2e.screen import SECONDS, Screen
from tests.e2e.web import Web
from tests.fakes.model_server import ModelServer
from tests.kb.test_telemetry import SUPPRESSING
from tests.real_services import ROOT, missing

STRACE = shutil.which("strace")
NAME_SERVERS = 53
REPORTING_SECONDS = 60.0  # within this time of its start, onnxruntime's telemetry looks its host up
TIMEOUT = 360  # the built-in model may have to be fetched, by the test and not by the product
SCAN = ROOT / "tests" / "kb" / "parsing" / "scan.png"


class TracedWeb(Web):
    """The web process with all its children under strace; what they connect and send to is in the file `calls`."""

    start_seconds = 180.0

    def environment(self) -> dict[str, str]:
        """As users have it: some packages are silent where they see that they are tested."""
        return {name: value for name, value in super().environment().items() if name not in SUPPRESSING}

    @property
    def calls(self) -> Path:
        return self.folder / "calls"

    def command(self) -> list[str]:
        assert STRACE
        # --seccomp-bpf: only the traced calls are slowed down.
        trace = ["--follow-forks", "--seccomp-bpf", "--quiet=all", "--trace=connect,sendto,sendmsg,sendmmsg"]
        return [STRACE, *trace, f"--output={self.calls}", *super().command()]


@pytest.fixture
def traced(tmp_path: Path, models: ModelServer, model_settings: Settings) -> Iterator[TracedWeb]:
    """With the built-in embedding model in its folder: to fetch it is the only call that a new installation makes."""
    if sys.platform != "linux" or not STRACE:
        missing("strace is not installed")
    web = TracedWeb(tmp_path, OPENAI_BASE_URL=models.base_url, LLM_MODEL="fake")
    (web.home / "models").mkdir()
    for folder in model_settings.models.iterdir():
        (web.home / "models" / folder.name).symlink_to(folder)
    web.start()
    yield web
    web.stop()


@pytest.mark.timeout(TIMEOUT)
def test_start_upload_question_and_stop_stay_on_this_machine(browser: Browser, traced: TracedWeb) -> None:
    began = time.monotonic()  # the product has just started
    page = browser.new_page(locale="en-US", viewport={"width": 1280, "height": 900})
    page.set_default_timeout(30 * SECONDS)
    screen = Screen(page, traced.url)
    screen.open("/knowledge-bases")
    screen.click("new_knowledge_base")
    screen.key("knowledge_base_name").get_by_role("textbox").fill("Harbour")
    screen.click("create_knowledge_base")
    screen.settle()
    text = b"The pilot boat of Zwartsluis is painted vermilion."
    scan = FilePayload(name="scan.png", mimeType="image/png", buffer=SCAN.read_bytes())  # read by onnxruntime
    screen.upload([FilePayload(name="harbour.txt", mimeType="text/plain", buffer=text), scan])
    expect(page.get_by_text("2 of 2 ready")).to_be_visible(timeout=120 * SECONDS)
    screen.go_to("Chat")
    screen.ask("Which colour has the pilot boat of Zwartsluis?")
    expect(screen.messages.last).to_contain_text("vermilion")
    expect(screen.key("citation-1")).to_be_visible()
    page.close()
    time.sleep(max(0.0, REPORTING_SECONDS - (time.monotonic() - began)))
    traced.stop()
    calls = traced.calls.read_text(errors="replace")
    assert 'sun_path="' in calls  # it was traced
    assert foreign(calls) == []


def foreign(calls: str) -> list[str]:
    """The calls that name an address elsewhere, or that look a name up."""
    found = []
    for line in calls.splitlines():
        port = re.search(r"sin6?_port=htons\((\d+)\)", line)
        address = re.search(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', line)
        if address and port:
            host = ip_address(address[1] or address[2])
            host = getattr(host, "ipv4_mapped", None) or host
            if not host.is_loopback or int(port[1]) == NAME_SERVERS:
                found.append(line)
        elif "systemd/resolve" in line or ("AF_NETLINK" in line and "connect(" in line):
            found.append(line)
    return found


@pytest.mark.parametrize(
    ("call", "is_foreign"),
    [
        ('1 connect(5, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("93.184.216.34")}, 16) = 0', True),
        ('1 connect(5, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.53")}, 16) = 0', True),
        (
            '1 sendto(5, "x", 1, 0, {sa_family=AF_INET, sin_port=htons(9), sin_addr=inet_addr("10.0.0.1")}, 16) = 1',
            True,
        ),
        ('1 connect(5, {sa_family=AF_INET, sin_port=htons(8501), sin_addr=inet_addr("127.0.0.1")}, 16) = 0', False),
        (
            "1 connect(5, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0), "
            'inet_pton(AF_INET6, "2606:2800:220:1::1", &sin6_addr), sin6_scope_id=0}, 28) = 0',
            True,
        ),
        (
            "1 connect(5, {sa_family=AF_INET6, sin6_port=htons(8501), sin6_flowinfo=htonl(0), "
            'inet_pton(AF_INET6, "::ffff:127.0.0.1", &sin6_addr), sin6_scope_id=0}, 28) = 0',
            False,
        ),
        ('1 connect(5, {sa_family=AF_UNIX, sun_path="/home/run/redis.sock"}, 110) = 0', False),
        ('1 connect(5, {sa_family=AF_UNIX, sun_path="/run/systemd/resolve/io.systemd.Resolve"}, 42) = 0', True),
    ],
)
def test_foreign_addresses_are_recognised(call: str, is_foreign: bool) -> None:
    assert bool(foreign(call)) is is_foreign
