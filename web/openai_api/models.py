"""What a request's `model` names: a knowledge base, a language model or an embedding model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from kb.access import Principal
from kb.embedding import EmbeddingModel, full_name
from kb.errors import ModelNotServed
from kb.library.knowledge_bases import find_named
from kb.models import NOWHERE, KnowledgeBase, Mode, Scope
from kb.providers.connection import Purpose
from kb.services import Services
from web.api.parties import Asker, Serving

router = APIRouter()
KNOWLEDGE_BASE = "knowledge-base/"  # before the name, or the id, of a knowledge base
OWNER = "zhiwen"


class Model(BaseModel):
    """As OpenAI lists it, with what it is here."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = OWNER
    kind: Literal["knowledge_base", "language_model", "embedding_model"]
    knowledge_base_id: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a question is for. `model_id` is the language model's; empty: the first that there is."""

    mode: Mode
    model_id: str
    scope: Scope = NOWHERE


def find_target(services: Services, acting: Principal, name: str) -> Target:
    """Errors: `ModelNotServed`; also for what others have, as if it did not exist."""
    if name.startswith(KNOWLEDGE_BASE):
        base = services.knowledge_bases.named(acting, name.removeprefix(KNOWLEDGE_BASE))
        if base is None:
            raise ModelNotServed(model=name)
        return Target(Mode.KNOWLEDGE, services.providers.chosen_model(acting, Purpose.CHAT), Scope.of(base.id))
    model = services.chat_models.named(acting, name)
    if model is None:
        raise ModelNotServed(model=name)
    return Target(Mode.LLM, model.id)


def find_embedding(services: Services, acting: Principal, name: str) -> EmbeddingModel:
    """One that the user may choose, or that a knowledge base of theirs has. Errors: `ModelNotServed`; those of `get`.

    No other name is looked at: it might be that of a folder, or of somebody else's provider.
    """
    if name not in _embedding_names(services, acting, services.knowledge_bases.list(acting)):
        raise ModelNotServed(model=name)
    return services.embeddings.get(name)


@router.get("/models")
def list_models(parties: Serving, acting: Asker) -> dict[str, Any]:
    """All that the key reaches: knowledge bases, language models, embedding models."""
    return {"object": "list", "data": _models(parties.services, acting)}


@router.get("/models/{name:path}")
def get_model(parties: Serving, acting: Asker, name: str) -> Model:
    """By any name that requests may use, under the one that the list has."""
    services = parties.services
    listed = _models(services, acting)
    if found := next((model for model in listed if model.id == name), None):
        return found
    base_id = find_target(services, acting, name).scope.first_id
    if base_id is None:
        return Model(id=name, kind="language_model")
    if found := next((model for model in listed if model.knowledge_base_id == str(base_id)), None):
        return found
    raise ModelNotServed(model=name)  # it was created since


def _models(services: Services, acting: Principal) -> list[Model]:
    bases = services.knowledge_bases.list(acting)
    known = services.chat_models.settled(acting)
    models = [_of_base(base, bases, acting) for base in bases]
    for server in known.servers:
        for model in server.models:
            is_first = known.named(model.name) == model
            id = model.name if is_first else model.id
            models.append(Model(id=id, owned_by=server.connection.server, kind="language_model"))
    names = _embedding_names(services, acting, bases)
    models += [Model(id=name, owned_by=_owner_of(name), kind="embedding_model") for name in names]
    return models


def _of_base(base: KnowledgeBase, bases: list[KnowledgeBase], acting: Principal) -> Model:
    """Under its name, unless that leads to another one."""
    name = base.name if find_named(bases, acting, base.name) == base else str(base.id)
    return Model(
        id=KNOWLEDGE_BASE + name,
        created=int(base.created_at.timestamp()),
        kind="knowledge_base",
        knowledge_base_id=str(base.id),
    )


def _embedding_names(services: Services, acting: Principal, bases: list[KnowledgeBase]) -> tuple[str, ...]:
    used = (base.embedding_model for base in bases)
    return tuple(dict.fromkeys([*services.offered_embeddings(acting), *used]))


def _owner_of(embedding_name: str) -> str:
    return OWNER if embedding_name.startswith("builtin") else full_name(embedding_name).partition(":")[0]
