"""The one place that imports onnxruntime, and FastEmbed, which imports it too.

Since 1.29, onnxruntime sends usage data to its vendor by default: it resolves the vendor's host within a minute and
keeps a device id and unsent events in the user's cache folder. Only an environment variable that is set before the
import turns all of this off; `onnxruntime.disable_telemetry_events` comes too late for the first event.
"""

from __future__ import annotations

import os
from typing import Any


def import_onnxruntime() -> Any:
    """The module `onnxruntime`, with its telemetry off. Takes half a second and 25 MB, so import it at first use."""
    _turn_telemetry_off()
    import onnxruntime

    return onnxruntime


def import_fastembed() -> Any:
    """The module `fastembed`, with onnxruntime's telemetry off; raises `ImportError` if it is not installed."""
    _turn_telemetry_off()
    import fastembed

    return fastembed


def _turn_telemetry_off() -> None:
    """For this process and its children, whatever the environment says."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
