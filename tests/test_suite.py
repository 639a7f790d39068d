"""The tests' own tools."""

from __future__ import annotations

import pytest


@pytest.mark.xdist_group("one-worker")
def test_group_reaches_the_scheduler(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("loadgroup", default=False):
        pytest.skip("needs --dist=loadgroup")
    assert request.node.nodeid.endswith("@one-worker")
