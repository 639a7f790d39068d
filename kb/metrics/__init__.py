"""What operators watch: counters and times of this process, and those of all workers.

Each process counts for itself, in `PROCESS`; the web process shows what it counted. Workers count in `WORKERS` and add
that to sums in Redis (`kb.metrics.shared`), which every web process shows: a worker may run on another machine, and be
killed, and opens no port.

No label names a user, a knowledge base, a document or an address: each has few values, and tells nothing of what is
asked or stored. To count takes microseconds, and never fails.
"""

from kb.metrics.answering import note_answer, note_failed_retrieval, note_retrieval, note_tokens
from kb.metrics.registries import PROCESS, WORKERS
from kb.metrics.shared import Publisher, read_shared
from kb.metrics.working import StageTimes, note_chunks, note_ingested, note_message

__all__ = [
    "PROCESS",
    "WORKERS",
    "Publisher",
    "StageTimes",
    "note_answer",
    "note_chunks",
    "note_failed_retrieval",
    "note_ingested",
    "note_message",
    "note_retrieval",
    "note_tokens",
    "read_shared",
]
