"""Documents of Microsoft Office, LibreOffice and their like: Word, Excel, PowerPoint, OpenDocument and Rich Text."""
