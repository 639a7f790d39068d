"""Images of the pages of PDF files and pictures."""

from kb.page_images.images import PageImages

__all__ = ["PageImages"]
