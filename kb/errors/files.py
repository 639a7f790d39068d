"""Files: uploading, keeping, reading and removing them."""

from __future__ import annotations

from kb.errors.base import N_, KbError, Unavailable, UserError


class UploadTooLarge(UserError):
    message = N_("“{name}” is larger than {limit} MB.")
    remedy = N_("Split it into smaller files, or raise MAX_UPLOAD_MB.")


class StorageFull(UserError):
    """The user may keep no more; `used` and `most` in MB."""

    message = N_("“{name}” does not fit: {used} of your {most} MB are used.")
    remedy = N_("Delete documents or conversations that you no longer need, or ask an administrator for more.")
    retry_helps = True


class OwnersStorageFull(StorageFull):
    """The owner of the knowledge base may keep no more."""

    message = N_("“{name}” does not fit: the owner of this knowledge base has used {used} of {most} MB.")
    remedy = N_("Delete documents that are no longer needed here, or ask the owner to make room.")


class QueueFull(UserError):
    """As many documents of the user wait as may."""

    message = N_("{queued} of at most {most} documents are waiting in the queue.")
    remedy = N_("Try again when some of them are done, or cancel some.")
    retry_helps = True


class OtherKind(UserError):
    """A file was to replace a document, whose name tells another format."""

    message = N_("“{name}” cannot replace this document: it is another type of file.")
    remedy = N_("Choose a file of the same type, or upload this one as a document of its own.")


class DocumentError(KbError):
    """This file cannot be ingested; a retry alone does not help."""

    message = N_("“{name}” could not be read.")
    remedy = N_("Check the file and upload it again.")
    retry_helps = False


class EmptyFile(DocumentError):
    message = N_("“{name}” is empty (0 bytes).")
    remedy = N_("Check the file and upload it again.")


class BlankFile(DocumentError):
    """A text file with nothing but white space."""

    message = N_("“{name}” contains no text.")
    remedy = N_("Check the file and upload it again.")


class NoText(DocumentError):
    """Only images, or nothing at all."""

    message = N_("No text was found in “{name}”.")
    remedy = N_("If it is a scan, upload a sharper one, or a copy on which text recognition (OCR) was run.")


class GarbledText(DocumentError):
    message = N_("The text of “{name}” is garbled, because its fonts do not tell which characters they show.")
    remedy = N_("Save it again as PDF from the program that made it, or run text recognition (OCR) on it.")


class UnsupportedFormat(DocumentError):
    message = N_("The format of “{name}” is not supported ({kind}).")
    remedy = N_("Convert it to one of these formats and upload it again: {supported}.")


class WrongFormat(DocumentError):
    """The content does not match the extension."""

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


class TooManyChunks(DocumentError):
    """Embedding them would take hours."""

    message = N_("“{name}” makes {count} chunks; the limit is {limit}.")
    remedy = N_("Split it into smaller files, or raise MAX_CHUNKS_PER_DOCUMENT and retry.")
    retry_helps = True


class UnpacksTooLarge(FileTooLarge):
    """What an archive (a Word file is one) holds is too much, by the sizes in its directory."""

    message = N_("“{name}” unpacks to {size}; at most {limit} is read. Its largest part is “{part}” with {part_size}.")
    remedy = N_("Split it into smaller files, or take out what makes that part so large, and upload the new copy.")


class TooManyParts(FileTooLarge):
    message = N_("“{name}” consists of {count} parts; at most {limit} are read.")
    remedy = N_("Split it into smaller files.")


class TooMuchText(FileTooLarge):
    message = N_("“{name}” contains more than 300 million characters of text.")
    remedy = N_("Split it into smaller files.")


class TooMuchTextInPart(TooMuchText):
    """Of a file with headings or sheets."""

    message = N_(
        "“{name}” contains more than 300 million characters of text. Its largest part, “{part}”, has {count} of them."
    )
    remedy = N_("Split it into smaller files, or take out what makes that part so large, and upload the new copy.")


class TableTooLarge(FileTooLarge):
    """By cells that are repeated, or that merged ones cover."""

    message = N_("“{name}” is too large to read: its table “{table}” repeats or merges more than 20 million cells.")
    remedy = N_("Make that table smaller, for example by clearing cells that nobody needs, and upload the new copy.")


class PictureTooLarge(FileTooLarge):
    message = N_("Page {page} of “{name}” is a picture of {width} × {height} pixels; at most {limit} million are read.")
    remedy = N_("Scale it down or cut it into several pictures, and upload the new copy.")


class ParsingTimeout(DocumentError):
    message = N_("Reading “{name}” took longer than {seconds} s and was stopped.")
    remedy = N_("Split it into smaller files, or raise PARSING_TIMEOUT_SECONDS.")
    retry_helps = True


class ParserCrashed(DocumentError):
    message = N_("The parser crashed while reading “{name}”. The file is probably damaged.")
    remedy = N_("Open it in the program that created it, save it again, and upload the new copy.")


class NeedsMemory(DocumentError):
    """Reading it takes more than PARSING_MEMORY_MB, also in a fresh process."""

    message = N_("Reading “{name}” needs more than {limit} MB of memory.")
    remedy = N_("Raise PARSING_MEMORY_MB, or split it into smaller files.")
    retry_helps = True


class ParserKilled(DocumentError):
    """By the system, twice, the second time with no other file beside it: the file may be sound."""

    message = N_(
        "The system ended the process that read “{name}” twice, also while it read nothing else. It needs more than "
        "{used} MB of memory."
    )
    remedy = N_("Give the machine or the container more memory, or split it into smaller files. Then press Retry.")
    retry_helps = True


class MemoryShort(Unavailable):
    """The system ended the parser twice, but others were reading beside it: the file is tried again later."""

    message = N_(
        "The system ended the process that read “{name}”, at {used} MB of memory, while it read other files as well."
    )
    remedy = N_("Zhiwen tries again by itself. If that keeps failing, give the machine or the container more memory.")


class WorkerMemoryShort(MemoryShort):
    """The worker itself was refused memory, which others may give back."""

    message = N_("The worker ran out of memory while processing “{name}”.")


class WorkerDied(DocumentError):
    """The worker crashed on every attempt."""

    message = N_("The worker crashed {attempts} times in a row while processing “{name}” (stage: {stage}).")
    remedy = N_("Check the worker's log and memory, then press Retry.")
    retry_helps = True


class UnexpectedFailure(DocumentError):
    """A bug in Zhiwen, while ingesting."""

    message = N_("An unexpected error occurred while processing “{name}” ({detail}).")
    remedy = N_("Press Retry. If it fails again, report it together with the worker's log.")
    retry_helps = True


class UploadStalled(Unavailable):
    """The client stopped sending, or sends next to nothing."""

    message = N_("The upload of “{name}” stalled: almost nothing arrived for {seconds} s.")
    remedy = N_("Check the connection, then upload it again.")


class FileNotSaved(Unavailable):
    """The upload cannot be written."""

    message = N_("“{name}” could not be saved ({detail}).")
    remedy = N_("Free up space on the server's disk, then upload it again.")


class FileNotReadable(UserError):
    """A file or folder on this machine that somebody named."""

    message = N_("“{name}” cannot be read ({detail}).")
    remedy = N_("Check the path, and that the user who runs Zhiwen may read it.")


class NameTwice(UserError):
    message = N_("Two files would have the same name, “{name}”.")
    remedy = N_("Names have at most 255 characters. Rename one of the files.")


class FileMissing(Unavailable):
    """The stored upload cannot be read."""

    message = N_("The stored copy of “{name}” cannot be read ({detail}).")
    remedy = N_("Check the disk, or delete the document and upload it again.")


class CleanUpFailed(Unavailable):
    """What was deleted cannot be removed from the disk."""

    message = N_("Deleted data could not be removed ({detail}).")
    remedy = N_("Check the disk and its permissions. Zhiwen tries again by itself.")


class PageNotDrawn(KbError):
    """There is no image of a page, for example because it takes too long."""

    message = N_("Page {page} of “{name}” cannot be shown ({detail}).")
    remedy = N_("Open the document to see it.")
