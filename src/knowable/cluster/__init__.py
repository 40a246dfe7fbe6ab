"""Runs trials, in this process or on a Dask cluster, and loses none."""

from knowable.cluster.drive import ClusterConfig, StudyLike, TrialLike, drive
from knowable.cluster.progress import ProgressBar
from knowable.cluster.report import DriveReport, Progress

__all__ = ["ClusterConfig", "DriveReport", "Progress", "ProgressBar", "StudyLike", "TrialLike", "drive"]
