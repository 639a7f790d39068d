"""Models: the servers that are connected, whether they respond, and which model does what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import streamlit as st

from kb.embedding import full_name
from kb.errors import KbError, ModelError, ModelKeyRefused, ModelRefused
from kb.extracts import escape_markdown as escape
from kb.llm import KnownModels, Server
from kb.models import User
from kb.providers.connection import Purpose, Source
from kb.providers.store import Provider
from kb.providers.trials import Trial
from kb.reranking import NO_RERANKING
from pages.ui.chat_sidebar import chosen_model, model_labels
from pages.ui.choices import choice
from pages.ui.feedback import confirm, errors_flashed, errors_shown, live_fragment, redraw, show_error
from pages.ui.i18n import _, error_text, join_list, ngettext, number
from pages.ui.provider_form import draw_provider_form
from pages.ui.resources import current_principal, current_user, services
from pages.ui.state import keep_choices, state

BUSY_SECONDS, IDLE_SECONDS = 0.7, 20.0
SHOWN_MODELS = 6


def main() -> None:
    st.header(_("Models"), anchor=False)
    with errors_shown():
        draw_page(current_user())


def draw_page(user: User) -> None:
    known = services().chat_models.check(user.principal)
    if not _shown(known) and not known.is_searching:
        draw_first_steps(user)
        return
    draw_servers(user, known)
    if any(server.all_names for server in known.servers):
        draw_choices(user, known)


def draw_first_steps(user: User) -> None:
    st.write(
        _(
            "No language model is connected. Add the provider whose models you use, such as DeepSeek or Qwen: with its "
            "API key, Zhiwen finds the models. Or start Ollama on this machine, and its models appear here."
        )
    )
    st.caption(_("Without one, knowledge-base Q&A still shows the best passages and marks the matching sentences."))
    _draw_add_button(user, primary=True)


def _shown(known: KnownModels) -> list[Server]:
    """Local servers are only worth showing where one answers: nobody said that there is any."""
    return [server for server in known.servers if not server.connection.is_local or server.names]


# --- servers ---


def draw_servers(user: User, known: KnownModels) -> None:
    trials = services().model_trials

    def busy(now: KnownModels) -> bool:
        return now.is_searching or any(_is_busy(each, trials.last(each.connection)) for each in _shown(now))

    was_busy = busy(known)

    @live_fragment(BUSY_SECONDS if was_busy else IDLE_SECONDS)
    def draw() -> None:
        now = services().chat_models.check(user.principal)
        if busy(now) != was_busy:
            redraw()
        providers = {str(provider.id): provider for provider in services().providers.list(user.principal)}
        for server in _shown(now):
            _draw_server(user, server, providers.get(server.connection.id))
        if now.is_searching:
            st.caption(_("Looking for language models…"))

    draw()
    _draw_add_button(user, primary=not known.models)


def _draw_server(user: User, server: Server, provider: Provider | None) -> None:
    connection = server.connection
    with st.container(border=True, key=f"server-{connection.id}"):
        with st.container(horizontal=True, vertical_alignment="center", key=f"line-server-{connection.id}"):
            st.markdown(f"**{escape(connection.server)}**  \n{_place(server)}", width="stretch")
            trial = services().model_trials.last(connection)
            st.button(
                _("Test"),
                key=f"test_provider-{connection.id}",
                icon=":material/network_check:",
                disabled=trial is not None and trial.ended_at is None,
                on_click=_test,
                args=(server,),
                help=_("Ask one of its models a short question."),
            )
            if provider and st.button(_("Edit"), key=f"edit_provider-{connection.id}", icon=":material/edit:"):
                draw_provider_form(user, provider)
            if provider and st.button(_("Delete…"), key=f"delete_provider-{connection.id}", icon=":material/delete:"):
                _confirm_delete(user, provider)
        st.markdown("  \n".join(_states(server, trial)))
        if names := server.all_names:
            st.caption(escape(_list(names)))
        if connection.source is Source.ENV:
            st.caption(
                _("Set in .env: change OPENAI_BASE_URL, OPENAI_API_KEY and LLM_MODEL there, then restart Zhiwen.")
            )


def _is_busy(server: Server, trial: Trial | None) -> bool:
    """Whether its state will change by itself in a moment."""
    is_checked = server.look.seen_at or server.connection.error
    return not is_checked or (trial is not None and trial.ended_at is None)


def _states(server: Server, trial: Trial | None) -> Iterator[str]:
    """Markdown: what the last look found, and the last test."""
    look, error = server.look, server.connection.error or server.look.error
    if error is None and look.seen_at is None:
        yield _state("gray", "hourglass_empty", _("Checking…"))
    elif error is None and server.connection.langchain:
        yield _state("gray", "help", _("Its package is installed. Test it to be sure."))
    elif error is None:
        count = ngettext("Connected, {count} model", "Connected, {count} models", len(look.names))
        yield _state("green", "check_circle", count)
    elif server.connection.names and type(error) is ModelRefused:
        yield _state("gray", "help", _("It responds, but does not list its models. Test it to be sure."))
    else:
        yield _failure(error, server.connection.source)
    if trial and trial.ended_at is None:
        yield _state("gray", "hourglass_top", _("Testing…"))
    elif trial and trial.error:
        yield _failure(trial.error, server.connection.source)
    elif trial:
        answered = _("{model} answered within {seconds} s").format(
            model=trial.model, seconds=number(trial.seconds, digits=1)
        )
        yield _state("green", "check_circle", answered)


def _state(colour: str, icon: str, text: str) -> str:
    return f":{colour}[:material/{icon}: {escape(text)}]"


def _failure(error: KbError, source: Source) -> str:
    """Elsewhere, the remedy for a wrong key points to this page."""
    message, remedy = error_text(error)
    if type(error) is ModelKeyRefused and source is Source.USER:
        remedy = _("Press “Edit” and enter the right key.")
    elif type(error) is ModelKeyRefused and source is Source.ENV:
        remedy = ""  # the last line says what to change
    return f"{_state('red', 'error', message)}  \n{escape(remedy)}"


def _place(server: Server) -> str:
    """Markdown: where the server is, and who named it."""
    origins = {Source.USER: "", Source.ENV: _("from .env"), Source.LOCAL: _("found on this machine")}
    origin = origins[server.connection.source]
    return " ".join([escape(server.connection.host), *([f":gray-badge[{origin}]"] if origin else [])])


def _list(names: tuple[str, ...]) -> str:
    shown = join_list(names[:SHOWN_MODELS])
    hidden = len(names) - SHOWN_MODELS
    return _("{names} and {count} more").format(names=shown, count=hidden) if hidden > 0 else shown


def _draw_add_button(user: User, primary: bool) -> None:
    if st.button(
        _("Add a provider"), key="add_provider", icon=":material/add:", type="primary" if primary else "secondary"
    ):
        draw_provider_form(user)


def _test(server: Server) -> None:
    """Test the model that answers, if it is one of this server, else its first one."""
    server_id, _slash, name = chosen_model().partition("/")
    with errors_flashed():
        services().model_trials.start(server.connection, name if server_id == server.connection.id else "")
    redraw()


def _confirm_delete(user: User, provider: Provider) -> None:
    question = _("Delete “{name}” with its API key? Conversations keep their answers.").format(
        name=escape(provider.name)
    )
    confirm(_("Delete provider"), question, _("Delete"), lambda: _delete(user, provider), "confirm_delete_provider")


def _delete(user: User, provider: Provider) -> None:
    with errors_flashed():
        services().providers.delete(user.principal, provider.id)


# --- which model does what ---


def draw_choices(user: User, known: KnownModels) -> None:
    st.subheader(_("Which model does what"), anchor=False)
    labels = model_labels(known)
    try:
        answering = known.choose(chosen_model())
    except ModelError as error:
        show_error(error)
        answering = None
    unset = {"": _("None: show the best passages")} if known.must_choose else {}
    _draw_choice(_("Answers"), Purpose.CHAT, unset | labels, answering.id if answering else "")
    _draw_choice(
        _("Rewriting follow-up questions"),
        Purpose.REWRITING,
        {"": _("The model that answers")} | labels,
        services().providers.chosen_model(user.principal, Purpose.REWRITING),
        _("A small, fast model is enough: before searching, it turns “And in 2024?” into a question of its own."),
    )
    _draw_embedding_choice(user, known)
    _draw_reranking_choice(user, known)


def _draw_embedding_choice(user: User, known: KnownModels) -> None:
    """Of providers only: what `.env` and this machine offer is chosen by EMBEDDING_MODEL."""
    labels = _labels_of_own(known, lambda server: server.embedding_names)
    chosen = services().providers.chosen_model(user.principal, Purpose.EMBEDDING)
    if labels or chosen:
        _draw_choice(
            _("Embedding the files of new knowledge bases"),
            Purpose.EMBEDDING,
            {"": full_name(services().embeddings.default.name)} | labels,
            chosen,
            _("You can still choose another model when you create a knowledge base. An existing one keeps its model."),
        )


def _draw_reranking_choice(user: User, known: KnownModels) -> None:
    """Of providers only, beside the one that `.env` names."""
    labels = _labels_of_own(known, lambda server: server.reranking_names)
    named = services().rerankers.named
    unset = {"": _("{model} (from .env)").format(model=named), NO_RERANKING: _("None")} if named else {"": _("None")}
    chosen = services().providers.chosen_model(user.principal, Purpose.RERANKING)
    if labels or chosen or named:
        _draw_choice(
            _("Reranking passages"),
            Purpose.RERANKING,
            unset | labels,
            chosen,
            _("It reads each passage together with the question and puts the best first. Each question takes longer."),
        )


def _labels_of_own(known: KnownModels, names: Callable[[Server], tuple[str, ...]]) -> dict[str, str]:
    """The models of the user's own providers that `names` gives, by id."""
    return {
        f"{server.connection.id}/{name}": f"{name} · {server.connection.server}"
        for server in known.servers
        if server.connection.source is Source.USER
        for name in names(server)
    }


def _draw_choice(label: str, purpose: Purpose, labels: dict[str, str], chosen: str, caption: str = "") -> None:
    if chosen not in labels:  # its server does not respond at the moment
        labels = labels | {chosen: chosen.partition("/")[2] or _("None")}
    st.selectbox(
        label,
        list(labels),
        format_func=lambda each: labels.get(each, each),
        **choice(f"model_for_{purpose}", chosen, labels, partial(_choose, purpose)),
    )
    if caption:
        st.caption(caption)


def _choose(purpose: Purpose, chosen: str) -> None:
    with errors_flashed():
        services().providers.choose_model(current_principal(), purpose, chosen)
        if purpose is Purpose.CHAT:
            state().chat_model = chosen  # for this tab, which may have chosen another one before
            keep_choices()


main()
