"""Office documents: Word, Excel, PowerPoint, OpenDocument, and Rich Text."""
