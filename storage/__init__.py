"""What is remembered: studies and trials in a database, artifacts and views as files.

Built on Optuna's storage, SQLAlchemy and pandas; knows neither the service (`optimize`) nor the search spaces.
Outsiders import from here; the files below are for those who change it.
"""

from storage.address import is_there, shown_address
from storage.aggregates import count_statuses, first_baseline, ranked_records
from storage.archive import pack, refuse_existing, scratch_folder
from storage.artifacts import Artifacts, Dangling
from storage.backups import BackupFolder, Copies, Restored, begin_line, restore_backup
from storage.copying import Files, copy_files, copy_study, remove_files, snapshot
from storage.database import Database, check_database, open_database
from storage.enqueued import enqueued_params, fill_waiting
from storage.errors import LeaseHeldError, LeaseLostError, StorageError, StorageFullError
from storage.export import make_patch, params_text, write_best
from storage.files import check_place, os_errors_at, replace_folder, write_bytes, write_text
from storage.foreign import ForeignStudy, clean, naive_utc, read_foreign
from storage.lease import Lease, acquire, holder_of
from storage.notes import artifact_link, most_notes, put_trial_notes, trials_with_notes, write_study_notes
from storage.paths import ReportPaths, StudyPaths, parent_of
from storage.processes import Holder
from storage.ranges import spanning_rows
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
from storage.results import (
    changes,
    frame,
    number_text,
    refuse_results_of_another,
    write_parquet,
    write_results,
    write_trials,
)
from storage.sqlite import settle
from storage.tables import Created, Stored
from storage.text import one_line
from storage.transfer import WholeTrial, add_trials, read_whole_trials, waiting_trial

__all__ = [
    "Artifacts",
    "BackupFolder",
    "Copies",
    "Created",
    "Dangling",
    "Database",
    "Files",
    "ForeignStudy",
    "Holder",
    "Lease",
    "LeaseHeldError",
    "LeaseLostError",
    "ReportPaths",
    "Restored",
    "StorageError",
    "StorageFullError",
    "Stored",
    "StudyPaths",
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
    "count_statuses",
    "ending_attrs",
    "enqueued_params",
    "fill_waiting",
    "first_baseline",
    "frame",
    "holder_of",
    "is_there",
    "make_patch",
    "most_notes",
    "naive_utc",
    "number_text",
    "one_line",
    "open_database",
    "origin_attrs",
    "os_errors_at",
    "pack",
    "params_text",
    "parent_of",
    "put_trial_notes",
    "ranked_records",
    "read_choices",
    "read_foreign",
    "read_records",
    "read_whole_trials",
    "record_of",
    "refuse_existing",
    "refuse_results_of_another",
    "remove_files",
    "replace_folder",
    "restore_backup",
    "scratch_folder",
    "settle",
    "shown_address",
    "snapshot",
    "spanning_rows",
    "trials_with_notes",
    "waiting_trial",
    "write_best",
    "write_bytes",
    "write_parquet",
    "write_results",
    "write_study_notes",
    "write_text",
    "write_trials",
]
