"""Runs answers in the background, streams them through Redis, and saves them.

An answer does not belong to the page that asked: it goes on when the tab closes, and any page, on any web process,
finds it again by the run that its message names. The run alone writes the message to SQL. A `Feed` is an answer to a
program that keeps the conversation itself.
"""

from kb.answers.feed import Feed
from kb.answers.service import Answers, FindModel, FindRewriter
from kb.answers.streams import Update

__all__ = ["Answers", "Feed", "FindModel", "FindRewriter", "Update"]
