"""How far a document's ingestion has come, in words."""

from __future__ import annotations

from kb.models import Progress, Version, VersionState
from pages.ui.i18n import _, ago, duration, number


def describe_progress(version: Version, progress: Progress | None) -> tuple[str, float]:
    """n of m, the rate, and the last update. Progress of another stage is left from an earlier attempt."""
    if progress and progress.stage is not version.state:
        progress = None
    signs = [moment for moment in (version.heartbeat_at, progress.at if progress else None) if moment]
    seen = _("last update {ago}").format(ago=ago(max(signs))) if signs else ""
    done, total = 0, 0
    if progress:
        done, total = progress.done, progress.total
    elif version.state is not VersionState.PARSING:
        done, total = version.stored_chunks, version.chunks
    if progress and progress.pages and not progress.total:
        text = _("Chunk {done}, page {page} of {pages}").format(
            done=number(done), page=number(progress.page), pages=number(progress.pages)
        )
        share = progress.page / progress.pages
    else:
        text = _progress_text(version.state, total).format(done=number(done), total=number(total))
        share = done / total if total else 0.0
    rate = _pace(progress) if progress and progress.rate else ""
    return " · ".join(filter(None, [text, rate, _left(progress), seen])), min(share, 1.0)


def _left(progress: Progress | None) -> str:
    """How long it takes yet: the reading, or all. Nothing until that can be told."""
    if progress is None or progress.seconds_left is None:
        return ""
    time = duration(progress.seconds_left)
    if progress.stage is VersionState.PARSING:
        return _("about {time} of reading left").format(time=time)
    return _("about {time} left").format(time=time)


def _pace(progress: Progress) -> str:
    """How fast it goes; below one a second, how long one takes."""
    if progress.rate >= 1:
        return _("{rate} a second").format(rate=number(progress.rate, 1))
    seconds = number(1 / progress.rate, 1 if progress.rate > 0.1 else 0)
    if progress.stage is VersionState.PARSING:
        return _("{seconds} s a page").format(seconds=seconds)
    return _("{seconds} s a chunk").format(seconds=seconds)


def _progress_text(stage: VersionState, total: int) -> str:
    if stage is VersionState.INDEXING:
        return _("Making it searchable…")
    if stage is VersionState.EMBEDDING:
        return _("Chunk {done} of {total}") if total else _("Chunk {done}; the file is still being read")
    return _("{done} of {total} pages read") if total else _("Reading the file…")
