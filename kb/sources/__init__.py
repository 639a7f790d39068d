"""Where documents come from, beside uploads in the browser."""

from kb.sources.folder import FolderFile, Plan, Refused, find_files, plan_folder

__all__ = ["FolderFile", "Plan", "Refused", "find_files", "plan_folder"]
