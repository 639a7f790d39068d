"""The API that speaks OpenAI's protocol, at /v1: for chat apps and programs that know OpenAI's and not ours.

A knowledge base is a model of it. Who may do what, and how a question is answered, is as in `web.api`.
"""

from web.openai_api.app import PATH, build_openai_api

__all__ = ["PATH", "build_openai_api"]
