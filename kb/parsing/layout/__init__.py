"""Characters and lines with their places on a page → text as people read the page, for PDF files and images alike."""
