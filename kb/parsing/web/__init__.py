"""Web pages (HTML), and the e-books that consist of them."""
