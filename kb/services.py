"""Builds the core's parts from the settings, for the web process and for workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import redis

from kb import redis as kb_redis
from kb.access import Principal
from kb.access.idempotency import IdempotencyKeys
from kb.access.keys import ApiKeys
from kb.access.request_limits import RequestLimits
from kb.access.tickets import Tickets
from kb.accounts import Accounts, build_accounts
from kb.answers import Answers
from kb.attachments import Attachments
from kb.audit.log import AuditLog
from kb.config import Settings
from kb.conversations import ConversationLinks, Conversations, Messages
from kb.database import Database
from kb.embedding import OF_PROVIDER, EmbeddingModels
from kb.environment import available_cpus, bypass_proxies
from kb.exports import Exports
from kb.fetching import Fetcher, FetchLimits, PageReader
from kb.ingestion import Backlog, Claims, Cleanup, Ingestion, Turns, models_in_use, new_worker_id
from kb.library import Arrivals, Documents, FileStore, KnowledgeBases
from kb.library.quotas import MEGABYTE, Quotas
from kb.library.sharing import Sharing
from kb.llm import ChatModels
from kb.page_images import PageImages
from kb.progress import ProgressBoard
from kb.providers.connection import Purpose
from kb.providers.guard import Guard
from kb.providers.keys import KeySafe
from kb.providers.store import Providers
from kb.providers.trials import Trials
from kb.queue import Queue
from kb.reading import Reader
from kb.reconciling import Checks, note_loading
from kb.reranking import Rerankers
from kb.retrieval import Retriever
from kb.retrieval.reference import References
from kb.spots import Spots
from kb.usage.overview import Usage
from kb.users import Users
from kb.vectors import VectorStore
from kb.web_search import WebSearch
from kb.web_search.pages import PageLimits, WebPages
from kb.web_search.retriever import WebRetriever
from kb.webhooks import Deliveries, Webhooks

WEBHOOK_SECONDS = 10.0  # for a receiver to answer


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that every process needs. Built once, shared among threads."""

    settings: Settings
    database: Database
    queue: Queue
    redis: redis.Redis
    quick_redis: kb_redis.QuickRedis
    vectors: VectorStore
    files: FileStore
    embeddings: EmbeddingModels
    users: Users
    accounts: Accounts
    api_keys: ApiKeys
    request_limits: RequestLimits
    idempotency_keys: IdempotencyKeys
    tickets: Tickets
    sharing: Sharing
    audit: AuditLog
    usage: Usage
    fetcher: Fetcher
    page_reader: PageReader
    page_images: PageImages
    spots: Spots
    knowledge_bases: KnowledgeBases
    arrivals: Arrivals
    documents: Documents
    reader: Reader
    conversations: Conversations
    messages: Messages
    conversation_links: ConversationLinks
    attachments: Attachments
    exports: Exports
    board: ProgressBoard
    backlog: Backlog
    retriever: Retriever
    providers: Providers
    chat_models: ChatModels
    model_trials: Trials
    rerankers: Rerankers
    webhooks: Webhooks
    web_search: WebSearch
    web_retriever: WebRetriever

    def pings(self) -> Mapping[str, Callable[[], str]]:
        """What `/healthz` asks, by the services' names."""
        return {
            "sql": self.database.ping,
            "redis": lambda: kb_redis.ping(self.redis),
            "milvus": self.vectors.ping,
        }

    def embedding_models(self) -> list[str]:
        """The names of the embedding model for new knowledge bases, then of those of existing ones."""
        return list(dict.fromkeys([self.embeddings.default.name, *models_in_use(self.database)]))

    def offered_embeddings(self, principal: Principal) -> tuple[str, ...]:
        """The embedding models that this user may choose for a new knowledge base, the preferred one first."""
        chosen = self.providers.chosen_model(principal, Purpose.EMBEDDING)
        return tuple(dict.fromkeys([*([OF_PROVIDER + chosen] if chosen else []), *self.embeddings.offered()]))

    def models_to_warm(self) -> list[str]:
        """The embedding models of existing knowledge bases; before there are any, the default one."""
        return models_in_use(self.database) or [self.embeddings.default.name]

    def close(self) -> None:
        self.page_images.close()
        self.page_reader.close()
        self.chat_models.close()
        self.retriever.close()
        self.rerankers.close()
        self.embeddings.close()
        self.vectors.close()
        self.quick_redis.close()
        self.redis.close()
        self.database.close()


def build_services(settings: Settings, queue: Queue, durable: bool = True) -> Services:
    """Build the parts. Nothing here waits for a service, except that the database's schema is brought up to date.

    `queue` tells the workers of new work. `durable`: see `Database`; a worker goes without.
    """
    bypass_proxies(settings)
    database = Database(settings, durable)
    database.migrate(settings.backups)
    client, quick = kb_redis.connect(settings), kb_redis.quick(settings)
    vectors = VectorStore(settings, kb_redis.Turns(client).take, partial(note_loading, database))
    files = FileStore(settings.uploads)
    safe = KeySafe(settings)
    providers = Providers(database, safe, Guard.of(settings.allowed_fetch_hosts))
    rerankers = Rerankers(settings, providers)
    embeddings = EmbeddingModels(settings, available_cpus(), providers.connection)
    knowledge_bases = KnowledgeBases(database, queue)
    quotas = Quotas(settings.user_documents_queued, settings.user_storage_mb * MEGABYTE)
    documents = Documents(database, files, vectors, queue, quotas)
    arrivals = Arrivals(database, files, queue, quotas)
    references = References(settings.models)
    fetcher, page_reader = Fetcher(settings.allowed_fetch_hosts), PageReader()
    web_search = WebSearch(settings)
    web_pages = WebPages(fetcher, page_reader, PageLimits(settings.web_pages_timeout_seconds))
    page_images = PageImages(settings.parsing_memory_mb)
    conversations, messages = Conversations(database), Messages(database)
    return Services(
        settings=settings,
        database=database,
        queue=queue,
        redis=client,
        quick_redis=quick,
        vectors=vectors,
        files=files,
        embeddings=embeddings,
        users=Users(database),
        accounts=build_accounts(settings, database, quick),
        api_keys=ApiKeys(database),
        idempotency_keys=IdempotencyKeys(database, safe),
        tickets=Tickets(safe),
        request_limits=RequestLimits(
            quick,
            settings.api_requests_per_minute,
            settings.api_answers_per_minute,
            user_answers=settings.user_answers_per_minute,
        ),
        sharing=Sharing(database),
        audit=AuditLog(database, settings.audit_days),
        usage=Usage(database),
        fetcher=fetcher,
        page_reader=page_reader,
        page_images=page_images,
        spots=Spots(database, documents, files, page_images),
        knowledge_bases=knowledge_bases,
        arrivals=arrivals,
        documents=documents,
        reader=Reader(database, vectors),
        attachments=Attachments(database, documents, arrivals, embeddings),
        conversations=conversations,
        messages=messages,
        conversation_links=ConversationLinks(database),
        exports=Exports(database, conversations, messages, knowledge_bases),
        board=ProgressBoard(quick),
        backlog=Backlog(database),
        retriever=Retriever(
            *(knowledge_bases, documents, vectors, embeddings, references, rerankers.find), queue.send_check
        ),
        providers=providers,
        chat_models=ChatModels(settings, providers),
        model_trials=Trials(settings),
        rerankers=rerankers,
        webhooks=Webhooks(database, safe, settings.allowed_fetch_hosts),
        web_search=web_search,
        web_retriever=WebRetriever(
            web_search,
            web_pages,
            embeddings,
            references,
            settings.web_search_pages,
            find_reranker=rerankers.find,
        ),
    )


def build_answers(services: Services) -> Answers:
    """The answers' background loop, for web processes."""
    return Answers(
        services.settings,
        services.quick_redis,
        services.conversations,
        services.messages,
        services.retriever.retrieve,
        services.web_retriever.retrieve,
        services.attachments,
        services.chat_models.resolve,
        services.chat_models.resolve_rewriting,
        services.usage.note,
        services.settings.conversation_titles,
    )


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What a worker process needs beside the services."""

    id: str
    claims: Claims
    cleanup: Cleanup
    checks: Checks
    ingestion: Ingestion
    deliveries: Deliveries


def build_worker_parts(services: Services) -> WorkerParts:
    worker_id = new_worker_id()
    clock, most = partial(datetime.now, UTC), services.settings.user_documents_at_once
    claims = Claims(services.database, worker_id, services.settings.lease_seconds, clock, most)
    cleanup = Cleanup(services.database, services.vectors, services.files, worker_id)
    checks = Checks(services.database, services.vectors, services.files)
    ingestion = Ingestion(
        services.settings,
        claims,
        Turns(services.database, clock, most),
        cleanup,
        services.files,
        services.vectors,
        services.embeddings,
        services.board,
        worker_id,
        checks.check_knowledge_base,
    )
    receivers = Fetcher(services.settings.allowed_fetch_hosts, FetchLimits(total_seconds=WEBHOOK_SECONDS))
    deliveries = Deliveries(services.database, KeySafe(services.settings), receivers.post)
    return WorkerParts(worker_id, claims, cleanup, checks, ingestion, deliveries)
