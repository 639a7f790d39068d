"""The HTTP API for programs, at /api/v1: a FastAPI app beside Streamlit's routes, in the same process.

A program sends a key (`kb.access.keys`) and acts with it as a principal; what that may do, `kb.access` and `kb` decide.
Routes only translate: JSON to calls of `kb`, and its dataclasses and errors back.
"""

from web.api.app import PATH, build_api

__all__ = ["PATH", "build_api"]
