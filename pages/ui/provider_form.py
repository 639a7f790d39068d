"""The dialog in which a provider is added or changed."""

from __future__ import annotations

import streamlit as st
from pydantic import SecretStr

from kb.models import User
from kb.providers import CUSTOM, PRESETS, Preset
from kb.providers.connection import SERVERS_OWN, ModelSettings
from kb.providers.packages import missing_packages
from kb.providers.store import HOTTEST, NAME_CHARACTERS, PROMPT_CHARACTERS, Provider, ProviderDraft
from pages.ui.feedback import close_dialog_if, dialog, errors_flashed
from pages.ui.i18n import _
from pages.ui.resources import services

PRESET_KEY, NAME_KEY, URL_KEY, API_KEY = "provider_preset", "provider_name", "provider_url", "provider_key"
MODELS_KEY, TEMPERATURE_KEY, LENGTH_KEY = "provider_models", "provider_temperature", "provider_max_tokens"
WINDOW_KEY, PROMPT_KEY = "provider_context_window", "provider_system_prompt"
IMAGES_KEY = "provider_sees_images"
LONGEST_WINDOW = 10_000_000
SEES_IMAGES = {"": None, "yes": True, "no": False}


def draw_provider_form(user: User, provider: Provider | None = None) -> None:
    """Open the dialog: for a new provider, or to change one."""
    _fill(provider)

    @dialog(_("Edit provider") if provider else _("Add a provider"))
    def edit() -> None:
        if provider is None:
            st.selectbox(
                _("Provider"),
                list(PRESETS),
                format_func=lambda preset: _(PRESETS[preset].name) if preset in PRESETS else "…",
                key=PRESET_KEY,
            )
        preset = PRESETS.get(provider.preset if provider else st.session_state[PRESET_KEY])
        for key, begin in _named(preset, provider).items():
            st.session_state.setdefault(key, begin)  # Streamlit forgets fields that were not shown
        langchain = preset.langchain if preset else ""
        if langchain:
            _tell_packages(langchain)
        st.text_input(_("Name"), key=_of_preset(NAME_KEY, preset), max_chars=NAME_CHARACTERS)
        st.text_input(
            _("Base URL"),
            key=_of_preset(URL_KEY, preset),
            placeholder=_("Known to LangChain") if langchain else "https://host/v1",
        )
        st.text_input(
            _("API key"),
            key=API_KEY,
            type="password",
            autocomplete="off",
            # Streamlit loses what was typed if the Tab key leaves for the button "Show": keep each change.
            on_change="ignore",
            live="0ms",
            placeholder=_("Stored; leave this empty to keep it") if provider and provider.has_key else "",
            help=_("It is stored encrypted and never shown again. Servers on your own machine mostly need none."),
        )
        with st.expander(_("Models and settings"), expanded=bool(langchain)):
            _draw_settings()
        saved = st.button(_("Save"), key="save_provider", type="primary", on_click=_save, args=(user, provider))
        close_dialog_if(saved)

    edit()


def _tell_packages(langchain: str) -> None:
    st.caption(_("This provider is reached through LangChain. Name its models below, one in each line."))
    if command := missing_packages(langchain):
        st.caption(_("A package is missing. Run this where Zhiwen is installed, then restart it:"))
        st.code(command, language=None, wrap_lines=True)


def _draw_settings() -> None:
    st.text_area(
        _("Models"),
        key=MODELS_KEY,
        height=90,
        help=_("One name in each line. Empty: all chat models that the server lists."),
    )
    left, right = st.columns(2)
    with left:
        servers_own = _("Default")
        st.number_input(
            _("Temperature"), 0.0, HOTTEST, value=None, step=0.1, key=TEMPERATURE_KEY, placeholder=servers_own
        )
    with right:
        _draw_tokens(
            LENGTH_KEY, _("Longest answer"), 256, servers_own, _("In tokens. An answer that reaches it is cut off.")
        )
    _draw_tokens(
        WINDOW_KEY,
        _("Context window"),
        1024,
        _("Not known"),
        _("In tokens: how much the model can read at once, as its maker states."),
    )
    images = {"": _("As the model's name suggests"), "yes": _("Its models take images"), "no": _("Text only")}
    st.selectbox(
        _("Images"),
        list(images),
        format_func=lambda choice: images.get(choice, "…"),
        key=IMAGES_KEY,
        help=_("Pictures that are attached in the chat are sent to models that take images."),
    )
    st.text_area(
        _("System prompt"),
        key=PROMPT_KEY,
        max_chars=PROMPT_CHARACTERS,
        height=120,
        help=_("The model reads it before Zhiwen's own instructions."),
    )


def _draw_tokens(key: str, label: str, step: int, unset: str, explanation: str) -> None:
    st.number_input(label, 1, LONGEST_WINDOW, value=None, step=step, key=key, placeholder=unset, help=explanation)


def _fill(provider: Provider | None) -> None:
    """What the fields show when the dialog opens; the key is never shown."""
    settings = provider.settings if provider else SERVERS_OWN
    for preset in (*PRESETS.values(), None):
        st.session_state.update(_named(preset, provider))
    st.session_state.update(
        {
            PRESET_KEY: next(iter(PRESETS)),
            API_KEY: "",
            MODELS_KEY: "\n".join(provider.model_names) if provider else "",
            TEMPERATURE_KEY: settings.temperature,
            LENGTH_KEY: settings.max_tokens,
            WINDOW_KEY: settings.context_window,
            PROMPT_KEY: settings.system_prompt,
            IMAGES_KEY: next(choice for choice, sees in SEES_IMAGES.items() if sees is settings.sees_images),
        }
    )


def _named(preset: Preset | None, provider: Provider | None) -> dict[str, str]:
    """What the fields begin with that a preset fills."""
    name, url = "", ""
    if provider:
        name, url = provider.name, provider.base_url
    elif preset:
        name, url = "" if preset.id == CUSTOM else _(preset.name), preset.base_url
    return {_of_preset(NAME_KEY, preset): name, _of_preset(URL_KEY, preset): url}


def _of_preset(name: str, preset: Preset | None) -> str:
    """The key of a field that a preset fills: each has its own.

    Streamlit takes a field that has not heard of another preset yet for one in which the user wrote the former
    address, and the key would go there.
    """
    return f"{name}--{list(PRESETS).index(preset.id)}" if preset else name


def _save(user: User, provider: Provider | None) -> None:
    chosen = st.session_state
    key, preset_id = chosen[API_KEY], provider.preset if provider else chosen[PRESET_KEY]
    preset = PRESETS.get(preset_id)
    named = {field: chosen.get(field, begin) for field, begin in _named(preset, provider).items()}
    draft = ProviderDraft(
        name=named[_of_preset(NAME_KEY, preset)],
        preset=preset_id,
        base_url=named[_of_preset(URL_KEY, preset)],
        key=SecretStr(key) if key.strip() else None,
        model_names=tuple(chosen[MODELS_KEY].splitlines()),
        settings=ModelSettings(
            temperature=chosen[TEMPERATURE_KEY],
            max_tokens=chosen[LENGTH_KEY],
            context_window=chosen[WINDOW_KEY],
            system_prompt=chosen[PROMPT_KEY],
            sees_images=SEES_IMAGES.get(chosen[IMAGES_KEY]),
        ),
    )
    with errors_flashed():
        if provider:
            services().providers.change(user.principal, provider.id, draft)
        else:
            services().providers.add(user.principal, draft)
        chosen[API_KEY] = ""
