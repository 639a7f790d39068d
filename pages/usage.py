"""Usage: administrators see who asks how much, what fails and which steps are slow, by week and by version."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from datetime import date

import streamlit as st

from kb.errors import AdministratorsOnly, KbError, fill
from kb.extracts import escape_markdown as escape
from kb.models import MessageState, Mode, VersionState
from kb.usage import TimeKind
from kb.usage.overview import CHOICES, NAMED_USERS, Ingested, Overview, Spent, StepTimes, Times
from pages.ui.chat_sidebar import mode_names
from pages.ui.feedback import errors_shown, wait_for
from pages.ui.i18n import _, day_of, ngettext, number, size
from pages.ui.plots import bars_by_week, lines_by_week, ranked_bars
from pages.ui.resources import current_account, current_principal, services
from pages.ui.trace import STEP_NAMES

WEEKS_KEY, STEP_KEY = "usage_weeks", "usage_step"
SHOWN_STEPS = SHOWN_REASONS = 12
SECOND_MS = 1000


def main() -> None:
    st.header(_("Usage"), anchor=False)
    with errors_shown():
        account = current_account()
        if account is not None and not account.is_administrator:
            raise AdministratorsOnly
        draw_usage(has_users=account is not None)


def draw_usage(has_users: bool) -> None:
    weeks = st.segmented_control(
        _("Time"),
        CHOICES,
        format_func=lambda count: ngettext("{count} week", "{count} weeks", count),
        default=CHOICES[1],
        required=True,
        key=WEEKS_KEY,
        label_visibility="collapsed",
    )
    usage, principal = services().usage, current_principal()
    found = wait_for(_("Working…"), lambda: usage.overview(principal, weeks or CHOICES[1]))  # a busy year takes seconds
    st.caption(
        _("Weeks begin on Monday, the first one on {day}. Questions and answers themselves are not recorded.").format(
            day=day_of(found.weeks[0])
        )
    )
    if found.answered:
        draw_questions(found, has_users)
        draw_tokens(found, has_users)
        draw_failures(found)
    else:
        st.info(_("Nothing was asked in this time."), icon=":material/forum:")
    draw_documents(found)
    draw_steps(found)


# --- answers ---


def draw_questions(found: Overview, has_users: bool) -> None:
    st.subheader(_("Questions"), anchor=False)
    numbers, plot = _beside()
    with numbers:
        st.metric(_("Questions"), number(found.questions))
        st.metric(_("Answers given"), number(found.answered), help=_("Those that were repeated are counted again."))
        if has_users:
            st.metric(_("Active users"), number(found.active_users))
    names = {mode.value: name for mode, name in mode_names().items()}
    by_mode: dict[str, dict[date, float]] = {}
    for mode in (*Mode, *{mode for _week, mode in found.answers}):
        counts = {week: count for (week, each), count in found.answers.items() if each == mode}
        if counts:
            by_mode[names.get(mode, mode)] = dict(counts)
    with plot:
        bars_by_week(found.weeks, by_mode, _("Week"), _("Answers given"), "usage_answers_plot")
        if has_users:
            people = {_("Active users"): dict(found.active_users_by_week)}
            bars_by_week(found.weeks, people, _("Week"), _("Active users"), "usage_users_plot")
    if found.first_token:
        _draw_first_token(found, found.first_token)


def _draw_first_token(found: Overview, times: StepTimes) -> None:
    st.subheader(_("Time to the first words"), anchor=False)
    numbers, plot = _beside()
    with numbers:
        st.metric(_("Half begin within"), took(times.whole.p50_ms))
        st.metric(_("95 % begin within"), took(times.whole.p95_ms))
    with plot:
        _draw_times(found.weeks, times.by_week, "usage_first_token_plot")


def draw_tokens(found: Overview, has_users: bool) -> None:
    total = sum(each.tokens for each in found.by_model)
    if not total:
        return
    st.subheader(_("Tokens of answers"), anchor=False)
    numbers, plot = _beside()
    with numbers:
        st.metric(_("Tokens"), number(total), help=_("As far as the models' servers count them."))
    with plot:
        _draw_spent(found.by_model, _("Model"), "usage_models_plot")
    if not has_users:
        return
    numbers, plot = _beside()
    with numbers:
        share = sum(each.tokens for each in found.by_user[:NAMED_USERS]) / total
        st.metric(_("Share of the ten who use most"), f"{number(100 * share)} %")
    with plot:
        _draw_spent(found.by_user, _("User"), "usage_tokens_by_user_plot")


def _draw_spent(spent: Sequence[Spent], name: str, key: str) -> None:
    read, written = _("Input"), _("Output")
    values = [
        (
            each.name or ngettext("{count} other", "{count} others", each.others),
            {read: each.input_tokens, written: each.output_tokens},
        )
        for each in spent
    ]
    ranked_bars(values, name, _("Tokens"), key)


def draw_failures(found: Overview) -> None:
    st.subheader(_("Failed answers"), anchor=False)
    failed = sum(found.failures.values())
    if not failed:
        st.write(_("No answer failed."))
        return
    numbers, plot = _beside()
    with numbers:
        st.metric(_("Failed answers"), number(failed))
        st.metric(_("Of all answers"), f"{number(100 * failed / found.answered, 1)} %")
    with plot:
        bars_by_week(
            found.weeks, {_("Failed answers"): dict(found.failed)}, _("Week"), _("Failed answers"), "usage_failed_plot"
        )
    rows = [(reason(code), number(count)) for code, count in list(found.failures.items())[:SHOWN_REASONS]]
    _draw_table((_("Reason"), _("Answers given")), rows)


# --- documents ---


def draw_documents(found: Overview) -> None:
    st.subheader(_("Documents"), anchor=False)
    if not found.ingested:
        st.write(_("No document was processed in this time."))
        return
    ready = [each for each in found.ingested if each.outcome == VersionState.READY.value]
    numbers, plot = _beside()
    with numbers:
        st.metric(_("Ready"), number(sum(each.documents for each in ready)))
        st.metric(_("Their size"), size(sum(each.size_bytes for each in ready)))
    names = outcome_names()
    by_outcome: dict[str, dict[date, float]] = {}
    for (week, outcome), count in found.ingested_by_week.items():
        by_outcome.setdefault(names.get(outcome, outcome), {})[week] = count
    order = [name for name in names.values() if name in by_outcome]
    with plot:
        bars_by_week(
            found.weeks,
            {name: by_outcome[name] for name in order},
            _("Week"),
            _("Documents"),
            "usage_documents_plot",
        )
    rows = [_document_row(each) for each in found.ingested[:SHOWN_REASONS]]
    _draw_table((_("Outcome"), _("Documents"), _("Size")), rows)


def _document_row(each: Ingested) -> tuple[str, str, str]:
    name = outcome_names().get(each.outcome, each.outcome)
    text = _("{step}: {reason}").format(step=name, reason=reason(each.error)) if each.error else name
    return text, number(each.documents), size(each.size_bytes)


def outcome_names() -> dict[str, str]:
    return {
        VersionState.READY.value: _("Ready"),
        VersionState.FAILED.value: _("Failed"),
        VersionState.CANCELLED.value: _("Cancelled"),
    }


# --- steps ---


def draw_steps(found: Overview) -> None:
    st.subheader(_("Slowest steps"), anchor=False)
    if not found.steps:
        st.write(_("No step has been measured in this time."))
        return
    slowest = found.steps[0]
    numbers, table = _beside()
    with numbers:
        st.metric(escape(step_name(slowest)), took(slowest.whole.p95_ms))
        st.caption(_("95 % of all times were within this."))
    rows = [
        (
            step_name(each),
            kind_names()[each.kind],
            took(each.whole.p50_ms),
            took(each.whole.p95_ms),
            number(each.whole.count),
        )
        for each in found.steps[:SHOWN_STEPS]
    ]
    with table:
        _draw_table((_("Step"), _("Of"), _("Half within"), _("95 % within"), _("Times measured")), rows, texts=2)
    named = {f"{each.kind}-{each.step}": each for each in found.steps}
    chosen = st.selectbox(
        _("One step by week and version"),
        list(named),
        format_func=lambda key: _full_name(named[key]) if key in named else "…",
        key=STEP_KEY,
        width=420,
    )
    step = named.get(chosen, slowest)
    _draw_times(found.weeks, step.by_week, "usage_step_plot")
    releases = [(release or _("Unknown"), each) for release, each in step.by_release.items()]
    times = [(name, took(each.p50_ms), took(each.p95_ms), number(each.count)) for name, each in releases]
    _draw_table((_("Version of Zhiwen"), _("Half within"), _("95 % within"), _("Times measured")), times)


def _full_name(step: StepTimes) -> str:
    return _("{step} ({kind})").format(step=step_name(step), kind=kind_names()[step.kind])


def step_name(step: StepTimes) -> str:
    if step.kind is TimeKind.INGESTION:
        return stage_names().get(step.step, step.step)
    return _(STEP_NAMES[step.step]) if step.step in STEP_NAMES else step.step


def stage_names() -> dict[str, str]:
    return {
        VersionState.PARSING.value: _("Read the file"),
        VersionState.EMBEDDING.value: _("Embed its chunks"),
        VersionState.INDEXING.value: _("Store its chunks"),
    }


def kind_names() -> dict[TimeKind, str]:
    return {
        TimeKind.ANSWER: _("answers"),
        TimeKind.RETRIEVAL: _("searches"),
        TimeKind.INGESTION: _("documents"),
    }


# --- what they share ---


def _beside() -> tuple[st.delta_generator.DeltaGenerator, st.delta_generator.DeltaGenerator]:
    """Where the numbers stand, and where the plot; on a phone below each other."""
    numbers, plot = st.columns([1, 3], gap="medium")
    return numbers, plot


def _draw_times(weeks: Sequence[date], by_week: Mapping[date, Times], key: str) -> None:
    """In seconds if the longest take seconds."""
    in_seconds = max((each.p95_ms for each in by_week.values()), default=0.0) >= SECOND_MS
    unit = SECOND_MS if in_seconds else 1
    series = {
        _("Half within"): {week: each.p50_ms / unit for week, each in by_week.items()},
        _("95 % within"): {week: each.p95_ms / unit for week, each in by_week.items()},
    }
    lines_by_week(weeks, series, _("Week"), _("Seconds") if in_seconds else _("Milliseconds"), key)


def _draw_table(names: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> None:
    """The first `texts` columns are words, the others numbers."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{'' if place < texts else ' class=zw-number'}>{html.escape(text)}</{tag}>"
            for place, text in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    st.html(f"<table class='zw-trace zw-figures'><tr>{cells('th', names)}</tr>{body}</table>")


def reason(code: str) -> str:
    """An error by its code, without the names in it."""
    if code == MessageState.INTERRUPTED.value:
        return _("Interrupted")
    known = KbError.registry.get(code)
    return fill(_(known.message), {}) if known else code


def took(milliseconds: float) -> str:
    if milliseconds >= SECOND_MS:
        return _("{seconds} s").format(seconds=number(milliseconds / SECOND_MS, 1))
    return _("{milliseconds} ms").format(milliseconds=number(milliseconds, 0 if milliseconds >= 10 else 1))


main()
