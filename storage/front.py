"""Names everything that other packages may use of this one; `storage/__init__.py` imports it when a name is first asked
for.
"""

from storage.artifacts import Artifacts
from storage.backups import BackupFolder, Copies, begin_line, restore_backup
from storage.checks import check_database
from storage.dashboard_notes import artifact_link, most_notes, put_trial_notes, trials_with_notes, write_study_notes
from storage.dashboard_trials import dashboard_storage
from storage.database import Database, open_database
from storage.errors import DatabaseLostError, LeaseHeldError, LeaseLostError, StorageError, StorageFullError
from storage.exports import (
    changes,
    frame,
    number_text,
    params_text,
    write_best,
    write_parquet,
    write_results,
    write_trials,
)
from storage.files import (
    check_place,
    os_errors_at,
    os_failure,
    replace_folder,
    sync_file,
    sync_folder,
    write_bytes,
    write_text,
)
from storage.foreign import ForeignStudy, clean, naive_utc, read_foreign, spanning_rows
from storage.lease import DEAD_AFTER_S, Lease, acquire, holder_of
from storage.locks import FileLock, Holder, process_start
from storage.lost_results import Tables, protect_tables, refuse_results_of_another, were_set_aside
from storage.patches import make_patch, revert_patch
from storage.paths import ReportPaths, RunsPaths, StudyPaths, parent_of, replicates_of
from storage.queries import (
    count_done,
    count_objectives,
    count_statuses,
    enqueued_params,
    fill_waiting,
    first_baseline,
    newest_trials,
    numbers_of,
    ranked_records,
    read_times,
    read_values,
    states_from,
)
from storage.records import (
    TrialRecord,
    best_record,
    condemned_attrs,
    ending_attrs,
    origin_attrs,
    read_choices,
    read_records,
    record_of,
)
from storage.sql import Stored
from storage.sqlite import settle
from storage.study_copy import (
    Files,
    WholeTrial,
    add_trials,
    copy_files,
    copy_study,
    read_whole_trials,
    remove_files,
    snapshot,
    waiting_trial,
)
from storage.text import exact_line, from_cell, one_line
from storage.url import is_there, shown_address

__all__ = [
    "DEAD_AFTER_S",
    "Artifacts",
    "BackupFolder",
    "Copies",
    "Database",
    "DatabaseLostError",
    "FileLock",
    "Files",
    "ForeignStudy",
    "Holder",
    "Lease",
    "LeaseHeldError",
    "LeaseLostError",
    "ReportPaths",
    "RunsPaths",
    "StorageError",
    "StorageFullError",
    "Stored",
    "StudyPaths",
    "Tables",
    "TrialRecord",
    "WholeTrial",
    "acquire",
    "add_trials",
    "artifact_link",
    "begin_line",
    "best_record",
    "changes",
    "check_database",
    "check_place",
    "clean",
    "condemned_attrs",
    "copy_files",
    "copy_study",
    "count_done",
    "count_objectives",
    "count_statuses",
    "dashboard_storage",
    "ending_attrs",
    "enqueued_params",
    "exact_line",
    "fill_waiting",
    "first_baseline",
    "frame",
    "from_cell",
    "holder_of",
    "is_there",
    "make_patch",
    "most_notes",
    "naive_utc",
    "newest_trials",
    "number_text",
    "numbers_of",
    "one_line",
    "open_database",
    "origin_attrs",
    "os_errors_at",
    "os_failure",
    "params_text",
    "parent_of",
    "process_start",
    "protect_tables",
    "put_trial_notes",
    "ranked_records",
    "read_choices",
    "read_foreign",
    "read_records",
    "read_times",
    "read_values",
    "read_whole_trials",
    "record_of",
    "refuse_results_of_another",
    "remove_files",
    "replace_folder",
    "replicates_of",
    "restore_backup",
    "revert_patch",
    "settle",
    "shown_address",
    "snapshot",
    "spanning_rows",
    "states_from",
    "sync_file",
    "sync_folder",
    "trials_with_notes",
    "waiting_trial",
    "were_set_aside",
    "write_best",
    "write_bytes",
    "write_parquet",
    "write_results",
    "write_study_notes",
    "write_text",
    "write_trials",
]
