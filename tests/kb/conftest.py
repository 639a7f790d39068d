"""The built-in model, built once and kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kb.config import Settings, load_settings
from kb.embedding import ensure_model
from kb.embedding.builtin import BuiltinModel
from kb.errors import EmbeddingUnavailable
from tests.real_services import missing

_HOME = os.environ.get("ZHIWEN_TEST_HOME") or Path(__file__).parents[2] / "build"


@pytest.fixture(scope="session")
def model_settings() -> Settings:
    """Settings whose models folder holds the built-in model; where it cannot be had, skipped, but failed in CI."""
    settings = load_settings(_env_file=None, zhiwen_home=Path(_HOME))
    try:
        ensure_model(settings)
    except EmbeddingUnavailable as error:
        missing(str(error))
    return settings


@pytest.fixture(scope="session")
def builtin(model_settings: Settings) -> BuiltinModel:
    return BuiltinModel(model_settings, threads=2)
