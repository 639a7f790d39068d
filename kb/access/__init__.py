"""Who may do what with what: one policy, as one condition in SQL that every read and write of users' things uses.

A `Principal` acts. `can` is the condition that it may; `Principal.binds` are the values that a statement with such a
condition is executed with. Without them SQLAlchemy refuses the statement, so that one that was forgotten shows nobody
anything.
"""

from kb.access.policy import EVERYBODY, can, is_shared_by, is_viewed_by, permission_on, require_scope
from kb.principals import GranteeKind, KeyLimits, KeyScope, Permission, Principal

__all__ = [
    "EVERYBODY",
    "GranteeKind",
    "KeyLimits",
    "KeyScope",
    "Permission",
    "Principal",
    "can",
    "is_shared_by",
    "is_viewed_by",
    "permission_on",
    "require_scope",
]
