"""Debian's nginx, with docs/nginx.conf."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.real_services import ROOT, Server

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
SITE = (ROOT / "docs" / "nginx.conf").read_text(encoding="utf-8")


class Nginx(Server):
    """Serves `site`, with its certificate, name and ports replaced."""

    def __init__(self, folder: Path, site: str, webs: list[int], port: int) -> None:
        super().__init__(folder, port)
        site = re.sub(r"(127\.0\.0\.1:)(850\d)", lambda found: f"{found[1]}{webs[int(found[2]) - 8501]}", site)
        site = re.sub(
            r"listen .*;", f"listen 127.0.0.1:{port};", re.sub(r"ssl_certificate.*;|server_name.*;", "", site)
        )
        site = site.replace("zhiwen_session_443", f"zhiwen_session_{port}")
        paths = " ".join(
            f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        head = f"daemon off; worker_processes 1; pid {folder}/pid; error_log stderr;"
        log = f"log_format upstream $upstream_addr; access_log {self._asked} upstream;"
        (folder / "nginx.conf").write_text(
            f"{head}\nevents {{}}\nhttp {{ {log} {paths}\n{site}\n}}\n", encoding="utf-8"
        )

    @property
    def _asked(self) -> Path:
        return self.folder / "asked"

    def asked(self) -> list[str]:
        """Whom it has passed each request to."""
        return self._asked.read_text(encoding="utf-8").split()

    def command(self) -> list[str]:
        return [NGINX, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", "stderr"]
