"""A worker for the tests: writes down its environment, and ends when its standard input closes."""

import json
import os
import sys
from pathlib import Path

NAMES = ("ZHIWEN_HOME", "MILVUS_URI", "REDIS_URL", "DATABASE_URL")

home = Path(os.environ["ZHIWEN_HOME"])
(home / "worker.json").write_text(json.dumps({name: os.environ[name] for name in NAMES if name in os.environ}))
print("worker is up", flush=True)
sys.stdin.buffer.read()
