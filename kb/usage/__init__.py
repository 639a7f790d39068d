"""What administrators look back on: who asked how much, what failed, and which steps are slow, by week.

Answers and ingestion write it in the transactions in which they end. It holds no text of anybody: no question, no
answer, no name of a document. `kb.metrics` counts for operators, in memory; this outlives restarts and deleted
conversations, for a year.
"""

from kb.usage.recording import AnswerEnd, TimeKind, record_answer, record_ingested, record_times

__all__ = ["AnswerEnd", "TimeKind", "record_answer", "record_ingested", "record_times"]
