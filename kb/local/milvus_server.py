"""Milvus Lite with our patches: `python -m kb.local.milvus_server <data folder> <address>`.

The patches replace private functions, so they apply to the one version that they were tested with. Another version runs
without them; the log and the System page say what is lost.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from itertools import chain

from kb.errors import N_
from kb.stderr import complain

TESTED_VERSION = "3.2.2"
# What users notice without the patches; each item names the patches in its comment.
_LOST = (
    # milvus_bm25: statistics of the whole collection
    N_("New documents rank too low in lexical search (BM25)."),
    # milvus_bm25: postings in arrays, remembered terms
    N_("Lexical search takes about ten times the memory, and the first question after a start takes seconds."),
    # milvus_filtered: search_filtered
    N_("A question that is limited to a few documents misses passages of them."),
    # milvus_storage: seal, read_whole
    N_("A search can miss chunks that were just stored."),
    # milvus_storage: DurableLog, synced, ending_after, in_turn
    N_("A full disk, a power cut or a restart under load can lose chunks of documents that are shown as ready."),
    # milvus_storage: saved_whole, attach_index
    N_("If Milvus Lite ends while it writes an index, all searches in that knowledge base fail afterwards."),
    # milvus_storage: opened_or_missing, created_anew
    N_("A knowledge base whose files in Milvus Lite are damaged cannot be indexed again."),
)


def lost_without_patches(installed: str) -> tuple[str, ...]:
    """Sentences, marked for translation, on what does not work in a version; none for the tested one.

    Takes the version of the package ("3.2.2") or the one that its server reports ("milvus_lite-3.2.2").
    """
    return () if installed.removeprefix("milvus_lite-") == TESTED_VERSION else _LOST


def patch(installed: str) -> None:
    """Apply all patches to the tested version; for another one, log what is lost."""
    if lost := lost_without_patches(installed):
        warning = f"Zhiwen's patches are for Milvus Lite {TESTED_VERSION}; {installed} runs without them."
        remedy = f"Install the tested version: pip install milvus-lite=={TESTED_VERSION}"
        complain(" ".join(("WARNING:", warning, *lost, remedy)))
        return
    from kb.local import milvus_bm25, milvus_filtered, milvus_storage

    for owner, name, replacement in chain(milvus_bm25.patches(), milvus_filtered.patches(), milvus_storage.patches()):
        setattr(owner, name, replacement)


if __name__ == "__main__":
    from milvus_lite.adapter.grpc.server import run_server

    patch(version("milvus-lite"))
    # gRPC's address is "host:port" or "unix:path"; Milvus Lite's own command line only takes a number as the port.
    host, _, port = sys.argv[2].rpartition(":")
    run_server(sys.argv[1], host, port)
