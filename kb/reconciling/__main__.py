"""`python -m kb.reconciling [--index-again] [--drop-unknown]`: compare SQL with Milvus and the uploads now.

Says what is missing, and what SQL does not know.

For a command line beside a running Zhiwen: it takes the same settings, and finds embedded services by the home folder.
"""

from __future__ import annotations

import argparse
import sys
from uuid import UUID

from kb.config import Settings, load_settings
from kb.errors import KbError
from kb.local.running import running
from kb.reconciling import Checks, Reconciled, drop_collections, index_again, reconciled
from kb.services import build_services


class _Nobody:
    """A queue without workers: their reaper finds what is queued in SQL."""

    def send_version(self, version_id: UUID) -> None: ...
    def send_clear_document(self, document_id: UUID) -> None: ...
    def send_clear_knowledge_base(self, knowledge_base_id: UUID) -> None: ...
    def send_check(self, knowledge_base_id: UUID) -> None: ...
    def send_note_leftovers(self) -> None: ...


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m kb.reconciling", description=__doc__)
    parser.add_argument("--index-again", action="store_true", help="queue what cannot be searched again")
    parser.add_argument(
        "--drop-unknown", action="store_true", help="drop the collections in Milvus that belong to no knowledge base"
    )
    asked = parser.parse_args()
    try:
        sys.exit(run(running(load_settings()), asked.index_again, asked.drop_unknown))
    except KbError as error:
        sys.exit(f"{error}")


def run(settings: Settings, wants_again: bool = False, wants_drop: bool = False) -> int:
    """Returns 1 if something is missing."""
    services = build_services(settings, _Nobody())
    try:
        Checks(services.database, services.vectors, services.files).check_all()
        found = reconciled(services.database)
        print(f"Documents that cannot be searched: {found.unsearchable}")
        print(f"Documents whose file is missing:   {found.files_missing}")
        for collection, error in found.errors.items():
            print(f"Not compared: {collection}: {error}")
        _print_leftovers(found, settings)
        if wants_again:
            again = index_again(services.database, services.files)
            print(f"Queued to be indexed again:        {again.queued}")
        if wants_drop:
            print(f"Collections dropped:               {drop_collections(services.database, services.vectors)}")
        return int(bool(found.unsearchable or found.files_missing or found.errors))
    finally:
        services.close()


def _print_leftovers(found: Reconciled, settings: Settings) -> None:
    for folder in found.unknown_folders:
        path = settings.uploads / folder.name
        files = "1 file" if folder.items == 1 else f"{folder.items:,} files"
        print(f"Of no document: {path}: {files}, {folder.size_bytes:,} bytes")
    if found.unknown_folders:
        print("  They are kept. Restore the database that knows them, or delete by hand what you do not need.")
    for collection in found.unknown_collections:
        print(f"Collection of no knowledge base: {collection.name}: {collection.items:,} chunks")
    if found.unknown_collections:
        print("  They are kept. --drop-unknown drops them; don't if another database of yours uses this Milvus.")


if __name__ == "__main__":
    main()
