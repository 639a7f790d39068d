"""Where OpenAI-compatible servers are: the base URLs of those that are widely used, and how to speak of any."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from kb.errors import N_

OPENAI_BASE_URL = "https://api.openai.com/v1"
CONNECT_SECONDS = 5.0
NO_KEY = "none"  # what a server gets that needs no key, because the client insists on one
CUSTOM = "custom"


@dataclass(frozen=True, slots=True)
class Preset:
    """A server that is widely used. `name` is a word to translate where its users write it in Chinese.

    LangChain knows the addresses of those that it reaches.
    """

    id: str
    name: str
    base_url: str
    needs_key: bool = True
    langchain: str = ""  # what `init_chat_model` calls it; empty: it is OpenAI-compatible


PRESETS = {
    preset.id: preset
    for preset in (
        Preset("openai", "OpenAI", OPENAI_BASE_URL),
        Preset("deepseek", "DeepSeek", "https://api.deepseek.com/v1"),
        Preset("dashscope", N_("Qwen (DashScope)"), "https://dashscope.aliyuncs.com/compatible-mode/v1"),
        Preset("zhipu", N_("Zhipu GLM"), "https://open.bigmodel.cn/api/paas/v4"),
        Preset("moonshot", N_("Moonshot Kimi"), "https://api.moonshot.cn/v1"),
        Preset("siliconflow", N_("SiliconFlow"), "https://api.siliconflow.cn/v1"),
        Preset("jina", "Jina", "https://api.jina.ai/v1"),
        Preset("cohere", "Cohere", "https://api.cohere.com/v2"),
        Preset("anthropic", "Anthropic Claude", "", langchain="anthropic"),
        Preset("google_genai", "Google Gemini", "", langchain="google_genai"),
        Preset("google_vertexai", "Google Vertex AI", "", needs_key=False, langchain="google_vertexai"),
        Preset("mistralai", "Mistral", "", langchain="mistralai"),
        Preset("bedrock", "Amazon Bedrock", "", needs_key=False, langchain="bedrock_converse"),
        Preset("ollama", "Ollama", "http://127.0.0.1:11434/v1", needs_key=False),
        Preset("vllm", "vLLM", "http://127.0.0.1:8000/v1", needs_key=False),
        Preset("fastchat", "FastChat", "http://127.0.0.1:8000/v1", needs_key=False),
        Preset("xinference", "Xinference", "http://127.0.0.1:9997/v1", needs_key=False),
        Preset("lmstudio", "LM Studio", "http://127.0.0.1:1234/v1", needs_key=False),
        Preset(CUSTOM, N_("Another OpenAI-compatible server"), "", needs_key=False),
    )
}


def host_of(base_url: str) -> str:
    """host:port of the base URL (empty: OpenAI's own), without any user or password in it."""
    return urlsplit(base_url or OPENAI_BASE_URL).netloc.rpartition("@")[2]
