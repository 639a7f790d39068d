"""The chat's part of the sidebar: mode, knowledge base and language model."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from kb.errors import N_, ModelError
from kb.extracts import escape_markdown as escape
from kb.llm import ChatModel, KnownModels
from kb.models import KnowledgeBase, Mode, Scope, User
from kb.providers.connection import Purpose
from pages.ui.choices import choice
from pages.ui.feedback import SIDEBAR, errors_flashed, live_fragment, redraw_parts
from pages.ui.i18n import _, error_text, join_list, language, translate
from pages.ui.resources import current_principal, current_user, services, warm_up
from pages.ui.scope import draw_scope
from pages.ui.state import keep_choices, state

MODE_KEY = "mode"
KNOWLEDGE_BASE_KEY = "knowledge_base"
ENGINE_KEY = "search_engine"
MODEL_KEY = "chat_model"
LOOK_SECONDS = 0.5


def mode_names(code: str | None = None) -> dict[Mode, str]:
    """In the language `code` where no page is being drawn."""
    names = {
        Mode.LLM: N_("LLM chat"),
        Mode.KNOWLEDGE: N_("Knowledge-base Q&A"),
        Mode.WEB: N_("Web-search Q&A"),
        Mode.TEST: N_("Retrieval testing"),
    }
    return {mode: translate(name, code or language()) for mode, name in names.items()}


def draw_sidebar(knowledge_bases: list[KnowledgeBase]) -> None:
    """Draw it as a fragment: its callbacks say what else is drawn anew."""

    @live_fragment(key=SIDEBAR)
    def draw() -> None:
        _draw_mode()
        if state().mode is Mode.WEB:
            _draw_engine()
        if state().mode.uses_documents:
            _draw_knowledge_base(knowledge_bases)
        if state().mode is not Mode.TEST:
            once_models_are_known(_draw_model)
        can_answer = state().mode is Mode.WEB or any(base.ready_count for base in knowledge_bases)
        if state().mode is not Mode.TEST and has_model() and can_answer:
            warm_up()

    with st.sidebar:
        draw()


def _draw_mode() -> None:
    names = mode_names()
    st.radio(
        _("Mode"),
        list(names),
        format_func=names.__getitem__,
        **choice(MODE_KEY, state().mode, names, _switch_mode),
    )


def _draw_knowledge_base(knowledge_bases: list[KnowledgeBase]) -> None:
    if not knowledge_bases:
        st.caption(_("There is no knowledge base yet."))
        st.page_link("knowledge_bases.py", label=_("Create a knowledge base"), icon=":material/add:")
        return
    draw_scope(knowledge_bases, KNOWLEDGE_BASE_KEY, _choose_scope)


def _draw_engine() -> None:
    """The search engine that is asked, of those that are set up."""
    search = services().web_search
    labels = {engine.id: engine.label for engine in search.engines if engine.is_configured}
    missing = [engine.setting for engine in search.engines if not engine.is_configured]
    st.selectbox(
        _("Search engine"),
        list(labels),
        format_func=lambda key: _(labels.get(key, "…")),
        help=_("Your questions are sent to it. More engines: {settings} in the file .env.").format(
            settings=join_list(missing)
        )
        if missing
        else _("Your questions are sent to it."),
        **choice(ENGINE_KEY, chosen_engine(), labels, _choose_engine),
    )


def chosen_engine() -> str:
    """The id of this tab's search engine: the default one where none is chosen, or the chosen one is not set up."""
    search = services().web_search
    chosen = search.engine(state().search_engine)
    if chosen.is_configured or search.default.is_configured:
        return chosen.id if chosen.is_configured else search.default.id
    return next(engine.id for engine in search.engines if engine.is_configured)


def _choose_engine(chosen: str) -> None:
    state().choices += 1
    state().search_engine = chosen
    with errors_flashed():
        keep_choices()
    redraw_parts()


def _switch_mode(mode: Mode) -> None:
    _switch(mode, state().chosen)


def _choose_scope(scope: Scope) -> None:
    _switch(state().mode, scope)


def _switch(mode: Mode, chosen: Scope) -> None:
    """Another mode, other knowledge bases or files were chosen: leave a line in the chat."""
    current = state()
    if (current.mode, current.chosen) == (mode, chosen):
        return
    current.mode, current.chosen = mode, chosen
    current.choices += 1
    if current.conversation_id is None:
        current.switched = True
        st.rerun()
    with errors_flashed():
        keep_choices()
        services().conversations.choose(current_principal(), current.conversation_id, current.mode, current.scope)
    redraw_parts()


def _draw_model() -> None:
    """The language model that answers. Local models are offered, and used only once chosen."""
    user = current_user()
    known = services().chat_models.known(user.principal)
    if known.error:
        message, remedy = error_text(known.error)
        st.caption(f":red[{escape(message)}]", help=escape(remedy))
        st.button(_("Search again"), key="look_again", type="tertiary", icon=":material/refresh:", on_click=_look_again)
        return
    if not known.models:
        st.caption(_("No language model is connected."), help=connect_help())
        st.page_link("models.py", label=_("Connect a language model"), icon=":material/add:")
        return
    if not known.must_choose and len(known.models) == 1:
        model = known.models[0]
        st.caption(_("Language model: {name} ({server})").format(name=escape(model.name), server=escape(model.server)))
        return
    labels = model_labels(known)
    options = ["", *labels] if known.must_choose else list(labels)
    answering = _answering(user, known)
    chosen = answering.id if answering else ""
    chosen = chosen if chosen in options else options[0]
    st.selectbox(
        _("Language model"),
        options,
        format_func=lambda key: labels.get(key) or _("None: show the best passages"),
        help=_("These models run on this machine. Choose one to use it.") if known.must_choose else None,
        **choice(MODEL_KEY, chosen, options, _choose_model),
    )


def model_labels(known: KnownModels) -> dict[str, str]:
    """What a list shows for each model, by its id."""
    return {model.id: f"{model.name} · {model.server}" for model in known.models}


def once_models_are_known(draw: Callable[[], None]) -> None:
    """Call `draw`; while servers are still being looked at, say so, and look again, in a fragment.

    Nothing else is drawn anew, for that would close a list that is open. The fragment goes on looking until the next
    run of what is around it: Streamlit lets none end by itself.
    """

    def look() -> None:
        if services().chat_models.known(current_principal()).is_searching:
            st.caption(_("Looking for language models…"))
        else:
            draw()

    is_searching = services().chat_models.known(current_principal()).is_searching
    (live_fragment(LOOK_SECONDS)(look) if is_searching else draw)()


def _look_again() -> None:
    services().chat_models.look_again(current_principal())
    st.rerun()


def _choose_model(chosen: str) -> None:
    state().choices += 1
    state().chat_model = chosen
    with errors_flashed():
        services().providers.choose_model(current_principal(), Purpose.CHAT, chosen)
        keep_choices()
    redraw_parts()


def connect_help() -> str:
    return _(
        "To connect a language model, add a provider on the Models page: DeepSeek, Qwen, OpenAI or any server that "
        "speaks OpenAI's protocol, such as vLLM or FastChat. Or start Ollama on this machine, and its models appear "
        "here."
    )


def chosen_model() -> str:
    """The id of the model that this tab has chosen, else the one that the user chose last; may be empty."""
    return _wanted(current_user())


def has_model() -> bool:
    """Whether there is a model to ask, as far as is known."""
    user = current_user()
    return _answering(user, services().chat_models.known(user.principal)) is not None


def _wanted(user: User) -> str:
    own = state().chat_model
    return user.chat_model if own is None else own


def _answering(user: User, known: KnownModels) -> ChatModel | None:
    try:
        return known.choose(_wanted(user))
    except ModelError:
        return None
