"""Mails with their attachments, web pages saved as mails (MHTML), and calendars."""
