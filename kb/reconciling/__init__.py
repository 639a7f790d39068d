"""SQL is compared with Milvus and with the uploads: what SQL calls ready must be there.

    the check (`checks`)      at a worker's start, each night, by a button and by `python -m kb.reconciling`; of one
                              collection, once Milvus Lite, which may lose something at a restart, loads it again
       └▶ versions.missing_chunks, versions.file_missing, document_counts.unsearchable
    leftovers (`leftovers`)   what SQL does not know is told, and never deleted unasked
    the remedy (`again`)      a button: what Milvus lacks is queued again under its own version, so that all that
                              points to the version stays, and ingested from its upload

Milvus and the uploads follow SQL (DESIGN.md): nothing is ever taken from SQL because it is not there.
"""

from kb.reconciling.again import IndexedAgain, Lacking, count_lacking, index_again
from kb.reconciling.checks import Checks, note_loading
from kb.reconciling.leftovers import Leftover, drop_collections
from kb.reconciling.overview import Reconciled, failed_check, reconciled, request_checks

__all__ = [
    "Checks",
    "IndexedAgain",
    "Lacking",
    "Leftover",
    "Reconciled",
    "count_lacking",
    "drop_collections",
    "failed_check",
    "index_again",
    "note_loading",
    "reconciled",
    "request_checks",
]
