"""Text in images, recognised by OCR: scanned pages of PDF files, photos, and screenshots."""
