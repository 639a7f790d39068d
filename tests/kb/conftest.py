"""The built-in models, as the tests of one session share them."""

from __future__ import annotations

import pytest

from kb.config import Settings
from kb.embedding.builtin import BuiltinModel
from kb.embedding.e5 import E5
from kb.embedding.minilm import MINILM


@pytest.fixture(scope="session")
def minilm(model_settings: Settings) -> BuiltinModel:
    return BuiltinModel(MINILM, model_settings, threads=2)


@pytest.fixture(scope="session")
def e5(model_settings: Settings) -> BuiltinModel:
    return BuiltinModel(E5, model_settings, threads=2)
