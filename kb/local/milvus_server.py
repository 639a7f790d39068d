"""Milvus Lite, corrected: `python -m kb.local.milvus_server server …`.

The corrections stand in place of its private functions, whose names belong to the versions they were written for.
"""

from __future__ import annotations

from importlib.metadata import version

from milvus_lite.cmdline import main

from kb.local import milvus_bm25, milvus_storage

CORRECTED_VERSIONS = "3.2."

if __name__ == "__main__":
    if version("milvus-lite").startswith(CORRECTED_VERSIONS):
        milvus_bm25.correct()
        milvus_storage.correct()
    raise SystemExit(main())
