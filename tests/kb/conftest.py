"""The built-in models, fetched once and kept between test runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kb.config import Settings, load_settings
from kb.embedding.builtin import BuiltinModel
from kb.embedding.e5 import E5
from kb.embedding.minilm import MINILM
from kb.embedding.weights import WEIGHTS_FILE
from kb.errors import EmbeddingUnavailable
from tests.real_services import missing

_HOME = os.environ.get("ZHIWEN_TEST_HOME") or Path(__file__).parents[2] / "build"


@pytest.fixture(scope="session")
def model_settings() -> Settings:
    """Settings whose models folder holds the built-in models. If one cannot be fetched, skip; in CI, fail.

    What an earlier release kept there has another layout, and is left alone.
    """
    settings = load_settings(_env_file=None, zhiwen_home=Path(_HOME))
    folder = MINILM.files(settings).folder
    if folder.exists() and not (folder / WEIGHTS_FILE).exists():
        settings = load_settings(_env_file=None, zhiwen_home=Path(_HOME) / "current")
    try:
        for model in (E5, MINILM):
            model.files(settings).fetch(lambda status: None)
    except EmbeddingUnavailable as error:
        missing(str(error))
    return settings


@pytest.fixture(scope="session")
def minilm(model_settings: Settings) -> BuiltinModel:
    return BuiltinModel(MINILM, model_settings, threads=2)


@pytest.fixture(scope="session")
def e5(model_settings: Settings) -> BuiltinModel:
    return BuiltinModel(E5, model_settings, threads=2)
