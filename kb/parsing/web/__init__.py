"""Web pages, and the e-books that consist of them."""
