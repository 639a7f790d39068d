"""The worker side: `dramatiq workers` imports this, and finds the broker and all actors."""

from workers.broker import broker
from workers.ingestion import ingest_version
from workers.maintenance import clear_document, clear_knowledge_base

__all__ = ["broker", "clear_document", "clear_knowledge_base", "ingest_version"]
