"""Text files: plain text, Markdown and other markup, CSV, JSON and XML, source code, subtitles, and notebooks."""
