"""Batches take about a second, whatever the speed of the embedding model."""

from __future__ import annotations

from kb.ingestion.pace import FIRST_BATCH_CHUNKS, MAX_BATCH_CHUNKS, Pace


def test_slow_model_gets_small_batches() -> None:
    pace = Pace()
    pace.note("slow", chunks=pace.batch_of("slow"), seconds=4.0)
    assert pace.batch_of("slow") == FIRST_BATCH_CHUNKS // 4
    pace.note("slow", chunks=1, seconds=60.0)
    assert pace.batch_of("slow") == 1


def test_batches_of_a_fast_model_grow_step_by_step() -> None:
    pace = Pace()
    sizes = []
    while pace.batch_of("fast") < MAX_BATCH_CHUNKS:
        sizes.append(pace.batch_of("fast"))
        pace.note("fast", chunks=sizes[-1], seconds=0.0)
    assert sizes == [8, 16, 32]
    pace.note("fast", chunks=MAX_BATCH_CHUNKS, seconds=0.0)
    assert pace.batch_of("fast") == MAX_BATCH_CHUNKS


def test_each_model_has_its_own_pace() -> None:
    pace = Pace()
    pace.note("slow", chunks=8, seconds=8.0)
    assert (pace.batch_of("slow"), pace.batch_of("another")) == (1, FIRST_BATCH_CHUNKS)
