"""Knowledge bases and documents. Every call takes the acting user."""

from kb.library.access import KNOWLEDGE_BASE
from kb.library.documents import Documents, mark_sent
from kb.library.files import FileStore
from kb.library.knowledge_bases import KnowledgeBases

__all__ = ["KNOWLEDGE_BASE", "Documents", "FileStore", "KnowledgeBases", "mark_sent"]
