"""Reading documents as text: their chunks from one place to another, and the places that a pattern finds."""

from kb.reading.live import LiveText
from kb.reading.patterns import MOST_PATTERN_CHARACTERS, Pattern
from kb.reading.reader import Found, Match, Part, Reader, Stretch

__all__ = ["MOST_PATTERN_CHARACTERS", "Found", "LiveText", "Match", "Part", "Pattern", "Reader", "Stretch"]
