"""A web process for the tests: starts the services on a folder, reports it, and stops them when it reads a line."""

import json
import os
import sys
import time
from pathlib import Path

from kb.config import load_settings
from kb.local import LocalServices

URL = "http://localhost:8501/"

home, worker, *external = sys.argv[1:]
settings = load_settings(zhiwen_home=Path(home), milvus_uri="".join(external), redis_url="", _env_file=None)
local = LocalServices(settings, URL, (sys.executable, worker))
local.start()
if "LEAVE_A_CHILD" in os.environ and os.fork() == 0:
    time.sleep(60)  # holding a copy of the pipe to the supervisor
    os._exit(0)
print(json.dumps({"milvus_uri": local.settings.milvus_uri, "redis_url": local.settings.redis_url}), flush=True)
sys.stdin.readline()
local.stop()
