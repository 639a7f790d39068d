"""Mails with their attachments, web pages saved as a mail (MHTML), and invitations."""
