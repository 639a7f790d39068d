"""The audit log: who did what, with which thing, when and from where.

`record` writes an event in the transaction of what it tells of, so that there is none without the other.
`kb.audit.log` searches the events, for administrators, and clears old ones.
"""

from kb.audit.actions import Action, Kind
from kb.audit.recording import COMMAND_LINE, acting_from, record, record_failed_sign_in, was_recorded

__all__ = ["COMMAND_LINE", "Action", "Kind", "acting_from", "record", "record_failed_sign_in", "was_recorded"]
