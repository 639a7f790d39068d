"""The type of an XML element."""

from __future__ import annotations

from typing import Any, TypeAlias

Element: TypeAlias = Any  # lxml gives no types
