"""The formats that can be read: their media types, the modules that read them, and what they are called."""

from __future__ import annotations

from kb.errors import N_

PLAIN, MARKDOWN, HTML = "text/plain", "text/markdown", "text/html"
COMMA_SEPARATED, TAB_SEPARATED = "text/csv", "text/tab-separated-values"
PDF = "application/pdf"
BINARY = "application/octet-stream"  # what nothing else fits
_OPEN_XML = "application/vnd.openxmlformats-officedocument"
WORD = f"{_OPEN_XML}.wordprocessingml.document"
POWERPOINT = f"{_OPEN_XML}.presentationml.presentation"
EXCEL = f"{_OPEN_XML}.spreadsheetml.sheet"
OLD_WORD, OLD_POWERPOINT = "application/msword", "application/vnd.ms-powerpoint"
OLD_EXCEL, BINARY_EXCEL = "application/vnd.ms-excel", "application/vnd.ms-excel.sheet.binary.macroenabled.12"
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument"
OPEN_TEXT, OPEN_SHEETS, OPEN_SLIDES = (f"{_OPEN_DOCUMENT}.{kind}" for kind in ("text", "spreadsheet", "presentation"))
RICH_TEXT = "application/rtf"
MAIL, OUTLOOK_MAIL, WEB_ARCHIVE = "message/rfc822", "application/vnd.ms-outlook", "multipart/related"
EPUB, NOTEBOOK = "application/epub+zip", "application/x-ipynb+json"
PNG, JPEG, TIFF, WEBP, BITMAP = "image/png", "image/jpeg", "image/tiff", "image/webp", "image/bmp"
GIF = "image/gif"
PICTURES = (PNG, JPEG, TIFF, WEBP, BITMAP, GIF)
ZIP = "application/zip"
JSON, JSON_LINES, XML = "application/json", "application/jsonl", "application/xml"
RESTRUCTURED_TEXT, ORG, TEX, ASCIIDOC = "text/x-rst", "text/x-org", "text/x-tex", "text/asciidoc"
SUBRIP, WEBVTT = "application/x-subrip", "text/vtt"
CALENDAR = "text/calendar"

# Source code and configuration by language: the names of their media types and extensions.
_CODE = {
    "python": "py pyw pyi",
    "javascript": "js mjs cjs jsx ts mts cts tsx vue svelte",
    "java": "java kt kts scala groovy gradle dart",
    "csharp": "cs",
    "c": "c h cc cpp cxx hh hpp hxx m mm ino",
    "go": "go",
    "rust": "rs",
    "swift": "swift",
    "php": "php",
    "ruby": "rb",
    "lua": "lua",
    "perl": "pl pm",
    "shell": "sh bash zsh ksh",
    "powershell": "ps1 psm1",
    "sql": "sql ddl",
    "r": "r",
    "vb": "vb vbs bas",
    "ini": "ini cfg conf toml properties editorconfig",
    "yaml": "yaml yml",
    "css": "css scss less",
    "protobuf": "proto",
}
CODE = {f"text/x-{language}": language for language in _CODE}

# Each media type that can be read, and the module below this package that does.
PARSERS = (
    {
        PDF: "pdf",
        MARKDOWN: "text.markdown",
        PLAIN: "text.plain",
        HTML: "web.html",
        WORD: "office.docx",
        POWERPOINT: "office.pptx",
        EXCEL: "office.xlsx",
        COMMA_SEPARATED: "text.csv",
        TAB_SEPARATED: "text.csv",
        JSON: "text.data",
        JSON_LINES: "text.data",
        XML: "text.data",
        RESTRUCTURED_TEXT: "text.markup",
        ORG: "text.markup",
        TEX: "text.markup",
        ASCIIDOC: "text.markup",
        SUBRIP: "text.subtitles",
        WEBVTT: "text.subtitles",
        CALENDAR: "mail.calendars",
        MAIL: "mail.eml",
        WEB_ARCHIVE: "mail.eml",
        OUTLOOK_MAIL: "mail.outlook",
        OLD_EXCEL: "office.xls",
        BINARY_EXCEL: "office.xlsb",
        OLD_WORD: "office.doc",
        RICH_TEXT: "office.rtf",
        EPUB: "web.epub",
        NOTEBOOK: "text.notebook",
        OPEN_TEXT: "office.opendocument",
        OPEN_SHEETS: "office.opendocument",
        OPEN_SLIDES: "office.opendocument",
    }
    | dict.fromkeys(CODE, "text.code")
    | dict.fromkeys(PICTURES, "images.picture")
)
DRAWN = (PDF, *PICTURES)  # those whose pages can be shown as images, and whose parsers tell where lines stand on them
STARTS_AT_PAGE = (PDF, TIFF)  # those whose parser can begin at any page
STARTS_AT_ATTACHMENT = (MAIL, OUTLOOK_MAIL)  # and at any attachment
# Those that cannot consist of images.
TEXT_PARSERS = (
    "text.plain",
    "text.markdown",
    "web.html",
    "text.csv",
    "text.data",
    "text.markup",
    "text.subtitles",
    "mail.calendars",
    "text.code",
    "text.notebook",
    "office.rtf",
)

_DOCUMENTS = {
    ".pdf": PDF,
    ".docx": WORD,
    ".pptx": POWERPOINT,
    ".xlsx": EXCEL,
    ".csv": COMMA_SEPARATED,
    ".tsv": TAB_SEPARATED,
    ".md": MARKDOWN,
    ".html": HTML,
    ".txt": PLAIN,
    ".eml": MAIL,
    ".msg": OUTLOOK_MAIL,
    ".mht": WEB_ARCHIVE,
    ".doc": OLD_WORD,
    ".xls": OLD_EXCEL,
    ".xlsb": BINARY_EXCEL,
    ".odt": OPEN_TEXT,
    ".ods": OPEN_SHEETS,
    ".odp": OPEN_SLIDES,
    ".rtf": RICH_TEXT,
    ".epub": EPUB,
    ".ipynb": NOTEBOOK,
    ".png": PNG,
    ".jpg": JPEG,
    ".tiff": TIFF,
    ".webp": WEBP,
    ".bmp": BITMAP,
    ".gif": GIF,
}
SUPPORTED_EXTENSIONS = tuple(_DOCUMENTS)  # as messages and pages name them; text is read under any name
_OTHER_NAMES = {
    ".markdown": MARKDOWN,
    ".mdx": MARKDOWN,
    ".htm": HTML,
    ".xhtml": HTML,
    ".xht": HTML,
    ".text": PLAIN,
    ".log": PLAIN,
    ".json": JSON,
    ".geojson": JSON,
    ".webmanifest": JSON,
    ".jsonl": JSON_LINES,
    ".ndjson": JSON_LINES,
    ".xml": XML,
    ".xsd": XML,
    ".wsdl": XML,
    ".rss": XML,
    ".atom": XML,
    ".rst": RESTRUCTURED_TEXT,
    ".org": ORG,
    ".tex": TEX,
    ".adoc": ASCIIDOC,
    ".asciidoc": ASCIIDOC,
    ".mhtml": WEB_ARCHIVE,
    ".jpeg": JPEG,
    ".tif": TIFF,
    ".srt": SUBRIP,
    ".vtt": WEBVTT,
    ".ics": CALENDAR,
    ".mbox": MAIL,
}
_UNSUPPORTED = {
    ".ppt": OLD_POWERPOINT,
    ".zip": ZIP,
}
# What programs write under these names is often of another format: web pages, texts with tabs, Rich Text.
OFTEN_MISNAMED = (OLD_WORD, OLD_EXCEL, OLD_POWERPOINT, RICH_TEXT)
_CODE_NAMES = {f".{name}": f"text/x-{language}" for language, names in _CODE.items() for name in names.split()}
BY_EXTENSION = _DOCUMENTS | _OTHER_NAMES | _CODE_NAMES | _UNSUPPORTED
LABELS = {
    ".doc": N_("old Word, .doc"),
    ".ppt": N_("old PowerPoint, .ppt; save it as .pptx"),
    ".xls": N_("old Excel, .xls"),
    ".odt": N_("OpenDocument text, .odt"),
    ".ods": N_("OpenDocument spreadsheet, .ods"),
    ".odp": N_("OpenDocument presentation, .odp"),
    ".rtf": N_("Rich Text, .rtf"),
    ".epub": N_("e-book, .epub"),
    ".msg": N_("Outlook message, .msg"),
    ".eml": N_("e-mail message, .eml"),
    ".mht": N_("web archive, .mht"),
    ".ipynb": N_("Jupyter notebook, .ipynb"),
    ".pdf": "PDF",
    ".html": "HTML",
    ".docx": "Word (.docx)",
    ".pptx": "PowerPoint (.pptx)",
    ".xlsx": "Excel (.xlsx)",
    ".xlsb": "Excel (.xlsb)",
    ".zip": N_("ZIP archive"),
    ".png": N_("picture, .png"),
    ".jpg": N_("picture, .jpg"),
    ".tiff": N_("picture, .tiff"),
    ".webp": N_("picture, .webp"),
    ".bmp": N_("picture, .bmp"),
    ".gif": N_("picture, .gif"),
}
