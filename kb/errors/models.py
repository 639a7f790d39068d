"""Chat, embedding and reranking models on their servers, and the providers that connect them."""

from __future__ import annotations

from kb.errors.base import N_, KbError, UserError
from kb.errors.library import NameTaken


class ModelError(KbError):
    """The chat or embedding model refused or failed."""

    message = N_("The model {model} failed ({detail}).")
    remedy = N_("Try again.")


class NoChatModel(ModelError):
    message = N_("No language model is connected.")
    remedy = N_("Add a provider on the Models page, or set OPENAI_API_KEY and LLM_MODEL in .env and restart.")


class ModelKeyRefused(ModelError):
    message = N_("{host} refused the API key ({detail}).")
    remedy = N_(
        "Check the key on the Models page, or in .env (OPENAI_API_KEY or EMBEDDING_API_KEY), which takes a restart."
    )


class ModelPackageMissing(ModelError):
    """LangChain, or its package for the provider."""

    message = N_("{host} needs a package that is not installed.")
    remedy = N_("Run this where Zhiwen is installed, then restart it: {command}")


class ModelKeyLost(ModelError):
    """It was encrypted under another secret."""

    message = N_("The stored API key of {name} cannot be decrypted.")
    remedy = N_("Enter it again on the Models page. SECRET_KEY or the file secret.key in ZHIWEN_HOME has changed.")


class ModelNotFound(ModelError):
    message = N_("{host} has no model named {model} ({detail}).")
    remedy = N_("Choose another model, or check the name on the Models page or in .env (LLM_MODEL or EMBEDDING_MODEL).")


class ModelNotServed(UserError):
    """A program asked for a name that is none of those that its key reaches."""

    message = N_("There is no model “{model}”, or your API key does not reach it.")
    remedy = N_("Use one of the names that /v1/models lists.")


class ModelRateLimited(ModelError):
    message = N_("{host} is rate limiting requests (429): {detail}")
    remedy = N_("Wait a moment and try again. If this persists, check your quota.")
    transient = True


class ModelTimeout(ModelError):
    message = N_("{host} did not answer within {seconds} s.")
    remedy = N_("Try again. For a slow model, raise LLM_TIMEOUT_SECONDS.")
    transient = True


class EmbeddingTimeout(ModelTimeout):
    """There was no vector of a question in time."""

    remedy = N_("Try again. For a slow embedding model, raise EMBEDDING_TIMEOUT_SECONDS.")


class ModelUnreachable(ModelError):
    message = N_("{host} cannot be reached.")
    remedy = N_(
        "Make sure that the model server is running, and check its base URL on the Models page or in .env "
        "(OPENAI_BASE_URL or EMBEDDING_BASE_URL)."
    )
    transient = True


class ModelListTimeout(ModelTimeout):
    """A server did not list its models in time, for which no model has to work."""

    remedy = ModelUnreachable.remedy


class ModelHostNotPublic(ModelError):
    """A member named a server in a private network that is not listed."""

    message = N_("{host} is not a public address.")
    remedy = N_(
        "Ask an administrator to add {entry} to ALLOWED_FETCH_HOSTS in .env, or to connect this server there for "
        "everybody, and to restart Zhiwen."
    )
    retry_helps = False


class ModelAddressUnchecked(ModelError):
    """A member named the address of a provider whose package connects by itself."""

    message = N_("{host} would be reached through LangChain, so Zhiwen cannot check that it is a public address.")
    remedy = N_(
        "Leave the base URL empty, or ask an administrator to add {entry} to ALLOWED_FETCH_HOSTS in .env and to "
        "restart Zhiwen."
    )
    retry_helps = False


class ModelUsesServersIdentity(ModelError):
    """A member named a provider that is asked without a key: as whoever runs Zhiwen."""

    message = N_("{host} would be used with the credentials of the server that Zhiwen runs on.")
    remedy = N_("Only administrators may do that. Choose a provider for which you have a key of your own.")
    retry_helps = False


class ModelStreamBroken(ModelError):
    message = N_("The connection to {host} was lost during the answer.")
    remedy = N_("The text received so far is kept. Try again.")
    transient = True


# Why a model ended an answer early.
AT_LIMIT = N_("length limit reached")
FILTERED = N_("content filter")


class ModelStopped(ModelError):
    """It ended normally, but before the answer was complete."""

    message = N_("{model} ended the answer early ({detail}).")
    remedy = N_("Ask it to continue, rephrase your question, try again, or choose another model.")


class AnswerEndless(ModelStopped):
    """It wrote on and on, and was ended by us."""

    message = N_("{model} went on for more than two million characters, so its answer was ended.")
    remedy = N_("Let it go on if you need more. If it repeats itself, rephrase your question or choose another model.")


class ModelRefused(ModelError):
    """Any other error response."""

    message = N_("{host} returned an error ({detail}).")
    remedy = N_("Try again. If it keeps failing, check the model server's log.")


class ModelContextExceeded(ModelRefused):
    """The question with its passages and history is too long for the model."""

    message = N_("The request is too long for {model} ({detail}).")
    remedy = N_(
        "Ask a shorter question, start a new conversation, or enter the model's context window on the Models page."
    )


class EmbeddingTextTooLong(ModelRefused):
    message = N_("A chunk is too long for the embedding model {model} ({detail}).")
    remedy = N_("Choose an EMBEDDING_MODEL that takes longer texts, or raise the limit on its server.")


class VectorsMissing(ModelRefused):
    """The endpoint returned another number of vectors than it got texts."""

    message = N_("{host} returned {vectors} vectors for {texts} texts.")


class ModelServerError(ModelRefused):
    """An error on the server's side."""

    transient = True


class ProviderNameTaken(NameTaken):
    message = N_("A provider named “{name}” already exists.")


class ProviderInUse(UserError):
    """Knowledge bases need its embedding model."""

    message = N_("“{name}” provides the embedding model of these knowledge bases: {names}.")
    remedy = N_("Delete these knowledge bases first.")


class InvalidProvider(UserError):
    """What was entered for a model provider cannot be right."""

    message = N_("{field} is not valid: {detail}.")
    remedy = N_("Correct it and save again.")
