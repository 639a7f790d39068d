"""Knowledge bases and documents. Every call takes the acting user."""

from kb.library.arrivals import Arrivals
from kb.library.contents import Content, contents, contents_of
from kb.library.counts import recount_all
from kb.library.documents import Documents
from kb.library.files import FileStore
from kb.library.knowledge_bases import KnowledgeBases, insert_knowledge_base, mark_deleted
from kb.library.line_boxes import LineBoxWriter, lines_between
from kb.library.queue_places import QUEUE_PLACES
from kb.library.rows import DOCUMENT, KNOWLEDGE_BASE
from kb.library.sending import mark_sent
from kb.library.twins import Added

__all__ = [
    "DOCUMENT",
    "KNOWLEDGE_BASE",
    "QUEUE_PLACES",
    "Added",
    "Arrivals",
    "Content",
    "Documents",
    "FileStore",
    "KnowledgeBases",
    "LineBoxWriter",
    "contents",
    "contents_of",
    "insert_knowledge_base",
    "lines_between",
    "mark_deleted",
    "mark_sent",
    "recount_all",
]
