"""The database, Redis and Milvus."""

from __future__ import annotations

from kb.errors.base import N_, Unavailable


class DatabaseUnavailable(Unavailable):
    message = N_("The database is not responding ({detail}).")
    remedy = N_(
        "Zhiwen reconnects automatically. If this persists, check the System page, and DATABASE_URL if you set it."
    )


class RedisUnavailable(Unavailable):
    message = N_("Redis is not responding ({detail}).")
    remedy = N_(
        "Zhiwen reconnects automatically. If this persists, check the System page, and REDIS_URL if you set it."
    )


class RedisTooOld(Unavailable):
    message = N_("Redis {version} is too old: Zhiwen needs {needed} or later.")
    remedy = N_("Upgrade the server that REDIS_URL names, or remove REDIS_URL to use the embedded Redis.")


class MilvusUnavailable(Unavailable):
    message = N_("Milvus is not responding ({detail}).")
    remedy = N_(
        "Zhiwen reconnects automatically. If this persists, check the System page, and MILVUS_URI if you set it."
    )


class MilvusRefused(Unavailable):
    """It returned an error."""

    message = N_("Milvus returned an error ({detail}).")
    remedy = N_("Try again. If it keeps failing, check the log of Milvus.")


class CollectionMissing(MilvusRefused):
    """There is no such collection, or its files were damaged."""

    message = N_("Milvus does not have the index of this knowledge base.")
    remedy = N_("Index its documents again: the page Knowledge bases and the System page offer it.")
