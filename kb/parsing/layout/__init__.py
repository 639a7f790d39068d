"""Characters and lines with their places on a page → the text as people read the page, whatever program found them."""
