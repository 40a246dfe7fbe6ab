"""The journal of a run, which is the truth about its trials, and the catalogue of runs."""

from knowable.runs.canonical import canonical_json, trial_key
from knowable.runs.catalogue import RunRow, list_runs, new_run
from knowable.runs.journal import JOURNAL_NAME, Journal
from knowable.runs.lease import Holder
from knowable.runs.names import check_run_name, run_folder
from knowable.runs.records import Conflict, Outcome, TrialRecord
from knowable.runs.salvage import salvage

__all__ = [
    "JOURNAL_NAME",
    "Conflict",
    "Holder",
    "Journal",
    "Outcome",
    "RunRow",
    "TrialRecord",
    "canonical_json",
    "check_run_name",
    "list_runs",
    "new_run",
    "run_folder",
    "salvage",
    "trial_key",
]
