"""`zhiwen doctor`: what it finds, line by line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
import sqlalchemy as sa

from kb.cli.doctor import installation
from kb.cli.doctor.finding import Finding, Mark
from kb.cli.doctor.installation import check_home, check_packages, check_python, check_settings
from kb.cli.doctor.models import check_models
from kb.cli.doctor.services import check_database, check_redis_and_milvus, check_running, check_work, open_database
from kb.config import Settings
from kb.database.tables import versions
from kb.local.plan import Folders
from kb.local.run_state import Holder, RunState, write_run_state
from kb.progress import WorkerInfo
from kb.services import WorkerParts
from tests.conftest import Core, MakeSettings
from tests.fakes.model_server import ModelServer
from tests.kb.cli.conftest import Run
from tests.real_services import HOST, free_port


def only(findings: Iterable[Finding], mark: Mark) -> list[Finding]:
    return [finding for finding in findings if finding.mark is mark]


def one(findings: Iterable[Finding], check: str) -> Finding:
    (finding,) = [finding for finding in findings if finding.check == check]
    return finding


# --- the installation ------------------------------------------------------------------------------------------


def test_this_python_and_these_packages_are_well() -> None:
    assert check_python().mark is Mark.OK
    assert only(check_packages(), Mark.FAILED) == []


def test_other_python_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version", lambda: "3.9.1")
    finding = check_python()
    assert finding.mark is Mark.FAILED
    assert ">=3.11" in finding.detail


def test_packages_that_do_not_fit_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"streamlit": "1.20.0", "dramatiq": "", "milvus-lite": "2.5.0"}
    installed = installation._installed
    monkeypatch.setattr(installation, "_installed", lambda name: wrong.get(name, installed(name)))
    found = list(check_packages())
    unmet, other = one(only(found, Mark.FAILED), "packages"), one(only(found, Mark.WARNING), "packages")
    assert "streamlit 1.20.0" in unmet.detail
    assert "dramatiq is missing" in unmet.detail
    assert "milvus-lite 2.5.0 (tested: 3.2.2)" in other.detail
    assert "milvus-lite==3.2.2" in one(found, "Milvus Lite").remedy


def write_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    file = tmp_path / "my.env"
    file.write_text(text, encoding="utf-8")
    monkeypatch.setenv("ZHIWEN_ENV_FILE", str(file))


def test_misspelt_setting_is_named_and_others_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_env(tmp_path, monkeypatch, "OPENAI_API_KYE=secret\nHF_ENDPOINT=x\nWORKERS=3\nLOG_LEVEL=INFO\n")
    found = list(check_settings())
    (misspelt,) = only(found, Mark.WARNING)
    assert "OPENAI_API_KYE" in misspelt.detail
    assert misspelt.remedy == "Did you mean OPENAI_API_KEY?"
    assert one(only(found, Mark.OK), "settings").detail.startswith("1 setting in")
    assert "secret" not in str(found)


def test_all_invalid_values_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_env(tmp_path, monkeypatch, "MILVUS_URI=localhost\nWORKER_THREADS=none\nOPENAI_API_KEY=two words\n")
    found = only(check_settings(), Mark.FAILED)
    assert {finding.detail.split()[0] for finding in found} == {"MILVUS_URI", "WORKER_THREADS", "OPENAI_API_KEY"}
    assert "two words" not in str(found)


def test_invalid_values_end_the_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zhiwen: Run) -> None:
    write_env(tmp_path, monkeypatch, "MILVUS_URI=localhost\n")
    ended = zhiwen("doctor")
    assert ended.code == 1
    assert "write it as http://host:19530" in ended.out
    assert "Zhiwen  " not in ended.out


def test_model_without_a_server_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_env(tmp_path, monkeypatch, "LLM_MODEL=gpt\n")
    (finding,) = only(check_settings(), Mark.WARNING)
    assert "not used" in finding.detail


def test_home_that_is_open_or_full(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_settings()
    assert [finding.mark for finding in check_home(settings)] == [Mark.OK]  # the first start creates it
    settings.home.mkdir(mode=0o755)
    settings.home.chmod(0o755)
    (opened,) = only(check_home(settings), Mark.WARNING)
    assert "chmod 700" in opened.remedy
    settings.home.chmod(0o700)
    assert only(check_home(settings), Mark.WARNING) == []
    monkeypatch.setattr(installation, "NO_SPACE", 1 << 60)
    monkeypatch.setattr(installation, "LITTLE_SPACE", 1 << 60)
    (full,) = only(check_home(settings), Mark.FAILED)
    assert "GB free" in full.detail


# --- what runs -------------------------------------------------------------------------------------------------


def test_embedded_services_that_do_not_run(make_settings: MakeSettings) -> None:
    settings = make_settings()
    finding = check_running(settings)
    assert finding.mark is Mark.FAILED
    assert "zhiwen run" in finding.remedy
    Folders(settings.home).create()
    write_run_state(Folders(settings.home).run_state, RunState(holder=Holder(1, 2, url="http://localhost:8501")))
    assert check_running(settings).detail == "runs at http://localhost:8501 (process 2)"


def test_silent_services_fail(make_settings: MakeSettings) -> None:
    address = f"{HOST}:{free_port()}"
    settings = make_settings(redis_url=f"redis://{address}", milvus_uri=f"http://{address}")
    found = list(check_redis_and_milvus(settings))
    assert {finding.check: finding.mark for finding in found} == {"Redis": Mark.FAILED, "Milvus": Mark.FAILED}
    assert all(finding.remedy for finding in found)


def test_database_is_not_created_and_its_revision_is_told(make_settings: MakeSettings) -> None:
    settings = make_settings()
    assert open_database(settings) is None
    assert check_database(settings, None).mark is Mark.OK
    assert not settings.home.exists()


@pytest.mark.parametrize(("revision", "mark"), [("0001", Mark.WARNING), ("9999", Mark.FAILED)])
def test_database_of_another_release(core: Core, revision: str, mark: Mark) -> None:
    database = core.services.database
    assert check_database(core.services.settings, database).mark is Mark.OK
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    assert check_database(core.services.settings, database).mark is mark


def test_work_is_told(core: Core) -> None:
    settings, database = core.services.settings, core.services.database
    base = core.knowledge_base()
    core.upload(base, "a.md", "x")
    found = list(check_work(settings, database))
    assert "zhiwen worker" in one(only(found, Mark.FAILED), "workers").remedy
    core.services.board.announce_worker(WorkerInfo("one", "host", 7, threads=3, busy=1))
    found = list(check_work(settings, database))
    assert one(found, "workers").detail == "1 worker, 1 of 3 threads busy"
    assert one(found, "queue").detail == "1 document and 0 clean-ups waiting"
    assert one(found, "comparison").mark is Mark.OK


def comparisons(core: Core, mark: Mark) -> list[Finding]:
    found = check_work(core.services.settings, core.services.database)
    return [each for each in only(found, mark) if each.check == "comparison"]


def test_document_that_has_only_lost_its_file_is_a_warning(core: Core, worker: WorkerParts) -> None:
    document = core.upload(core.knowledge_base(), "a.md", "x")
    worker.ingestion.ingest(document.latest.id)
    core.services.files.delete(document.latest.file_key)
    worker.checks.check_all()
    assert comparisons(core, Mark.FAILED) == []
    lost = comparisons(core, Mark.WARNING)[0]  # tests share a Milvus, so leftovers follow
    assert "1 document lost the uploaded file" in lost.detail
    assert lost.remedy.startswith("They can be searched")


def test_documents_that_cannot_be_searched_fail(core: Core, worker: WorkerParts) -> None:
    base = core.knowledge_base()
    document = core.upload(base, "a.md", "x")
    worker.ingestion.ingest(document.latest.id)
    core.services.vectors.drop(base.collection)
    worker.checks.check_all()
    (lacking,) = comparisons(core, Mark.FAILED)
    assert "1 document cannot be searched: Milvus lacks" in lacking.detail
    assert "--index-again" in lacking.remedy
    core.services.files.delete(document.latest.file_key)
    worker.checks.check_all()
    (lost,) = comparisons(core, Mark.FAILED)
    assert "1 document cannot be searched and lost the uploaded file" in lost.detail
    with core.services.database.write() as connection:
        connection.execute(sa.update(versions).values(state="failed"))
    (given_up,) = comparisons(core, Mark.FAILED)
    assert "1 document could not be indexed again" in given_up.detail
    assert given_up.remedy == "The lists of the knowledge bases say why, and what to do."  # retrying may not help
    with core.services.database.read() as connection:
        assert connection.scalar(sa.select(versions.c.missing_chunks)) == 1
    with core.services.database.write() as connection:
        connection.execute(sa.update(versions).values(state="queued"))
    found = [each for each in check_work(core.services.settings, core.services.database) if each.check == "comparison"]
    assert any("indexed again" in each.detail for each in only(found, Mark.WARNING))
    assert only(found, Mark.FAILED) == []


# --- models ----------------------------------------------------------------------------------------------------


def test_models_are_asked(core: Core) -> None:
    with ModelServer() as server:
        settings = core.services.settings.model_copy(update={"openai_base_url": server.base_url, "llm_model": "fake"})
        found = list(check_models(settings, core.services.database))
        assert one(found, "embedding").detail.startswith(f"test, {core.embedding.dimension} dimensions")
        assert one(found, "language model").detail.startswith("fake at ")
        refused = settings.model_copy(update={"llm_model": "wrong"})
        assert one(check_models(refused, None), "language model").mark is Mark.FAILED


def test_no_language_model_is_no_failure(make_settings: MakeSettings, core: Core) -> None:
    assert one(check_models(core.services.settings, core.services.database), "language model").mark is Mark.OK


def test_knowledge_base_of_another_dimension_fails(core: Core) -> None:
    core.services.knowledge_bases.create(core.user, "Other", core.embedding.name, 7)
    finding = one(check_models(core.services.settings, core.services.database), "embedding")
    assert finding.mark is Mark.FAILED
    assert "[7]" in finding.detail


def test_model_that_is_not_fetched(make_settings: MakeSettings) -> None:
    settings = make_settings(embedding_model="builtin")
    finding = one(check_models(settings, None), "embedding")
    assert (finding.mark, "python -m kb.embedding" in finding.remedy) == (Mark.WARNING, True)


def test_all_is_well(core: Core, configured: Settings, zhiwen: Run) -> None:
    configured.home.chmod(0o700)
    core.services.board.announce_worker(WorkerInfo("one", "host", 7, threads=3))
    ended = zhiwen("doctor", "--json")
    found = {check["check"]: check["mark"] for check in ended.json["checks"]}
    assert (ended.code, ended.json["ok"]) == (0, True), ended.out
    assert set(found) >= {"Python", "packages", "settings", "home", "SQL", "Redis", "Milvus", "workers", "queue"}
    assert "0 failed" in zhiwen("doctor").out
