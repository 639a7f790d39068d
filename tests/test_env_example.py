"""`.env.example` lists every setting with its default, and nothing that nobody reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from kb.config import Settings, load_settings
from kb.tracing.setup import ENDPOINTS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / ".env.example").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^#([A-Z_]+)=(.*)$", TEXT, re.MULTILINE))


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_is_shown_with_its_default(field: str) -> None:
    default = Settings.model_fields[field].default
    shown = default.get_secret_value() if isinstance(default, SecretStr) else str(default)
    assert EXAMPLES[field.upper()] == shown


def test_other_variables_are_those_of_compose_and_opentelemetry() -> None:
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    others = EXAMPLES.keys() - {field.upper() for field in Settings.model_fields}
    telemetry = {*ENDPOINTS, "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_SERVICE_NAME"}
    telemetry |= {"OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"}
    assert others == {name for name in others if f"${{{name}:" in compose or name in telemetry}


def test_plain_copy_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    (tmp_path / ".env").write_text(TEXT, encoding="utf-8")
    assert load_settings(_env_file=tmp_path / ".env") == load_settings(_env_file=None)


def test_copy_with_every_line_uncommented_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    (tmp_path / ".env").write_text(re.sub(r"^#(?=[A-Z_]+=)", "", TEXT, flags=re.MULTILINE), encoding="utf-8")
    assert load_settings(_env_file=tmp_path / ".env") == load_settings(_env_file=None)


def test_every_variable_has_a_comment_above_it() -> None:
    lines = TEXT.splitlines()
    for number, line in enumerate(lines):
        if re.match(r"#[A-Z_]+=", line):
            assert lines[number - 1].startswith("#"), line
