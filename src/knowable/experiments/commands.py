"""What each command does: words from a command line in, text and plain data out."""

from __future__ import annotations

import argparse
import ast
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

import knowable.experiments.backtest as one
import knowable.experiments.search as many
from knowable.backtest.costs import Costs
from knowable.backtest.settings import Settings
from knowable.data.corporate.universe import Largest
from knowable.data.market import Market
from knowable.data.quality.rules import read_rule
from knowable.data.schema import Schema
from knowable.data.store import Store
from knowable.errors import InputError, UnknownNameError, unknown_name
from knowable.experiments import resume as back
from knowable.experiments import sweep as grid_of
from knowable.experiments.checking import check as look
from knowable.experiments.first_look import Check
from knowable.experiments.run import Run
from knowable.experiments.strategies import find_strategy
from knowable.metrics import METRICS
from knowable.params import Choice, Int, Param
from knowable.runs import list_runs, run_folder
from knowable.strategy import Strategy

__all__ = [
    "COSTS",
    "Outcome",
    "backtest",
    "check",
    "clean",
    "compact",
    "ingest",
    "optimize",
    "quality",
    "read",
    "report",
    "resume",
    "retain",
    "runs",
    "snapshot",
    "sweep",
    "walk_forward",
]

COSTS = tuple(field.name for field in fields(Costs))
_CHECK: dict[str, Check] = {"refuse": True, "warn": "warn", "off": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command has to say: text for people, data for machines, and the exit code."""

    text: str
    data: Any
    code: int = 0


def ingest(options: argparse.Namespace) -> Outcome:
    """Append files to a dataset, which is made first if it is new and its kind is said."""
    for file in options.files:
        if not Path(file).exists() and not any(mark in file for mark in "*?["):
            raise InputError(f"There is no file {file}.")
    there = options.store.is_dir() and options.dataset in Store(options.store).datasets()
    if options.kind is None and not there:
        raise InputError(
            f"{options.store} has no dataset {options.dataset!r} yet; say what it is: --kind bars or --kind facts."
        )
    store = Store(options.store)
    if options.kind is not None:
        store.create(options.dataset, _schema(options))
    made = store.append(
        options.dataset,
        options.files,
        columns=dict(_pair(text, "--column") for text in options.column) or None,
        tz=options.tz,
        known_lag=options.known_lag,
        workers=options.workers,
    )
    return Outcome(text=repr(made), data=made)


def read(options: argparse.Namespace) -> Outcome:
    """Print rows as they were known."""
    table = _store(options).read(
        options.dataset,
        as_of=options.as_of,
        version=options.version,
        entities=options.entity or None,
        fields=options.field or None,
        start=options.start,
        end=options.end,
    )
    frame = table.to_pandas()
    if options.last is not None and options.last < 1:
        raise InputError(f"`--last >= 1` must hold, but it is {options.last}.")
    if options.last:
        frame = frame.groupby("entity", sort=False).tail(options.last)
    moment = f" as known at {options.as_of}" if options.as_of else ""
    text = f"{len(frame)} rows of {options.dataset}{moment}:\n"
    return Outcome(text=text + frame.to_string(index=False, max_rows=60), data=frame.to_dict("records"))


def clean(options: argparse.Namespace) -> Outcome:
    """Judge a dataset by rules, and do what they say."""
    rules = [read_rule(text) for text in options.rule] or None
    made = _store(options).clean(options.dataset, rules, dry_run=options.dry_run)
    counts = [{"rule": rule, "done": done, "n": n} for (rule, done), n in made.counts.items()]
    data = {name: getattr(made, name) for name in ("dataset", "judged", "version", "entities", "rows", "standing")}
    return Outcome(text=repr(made), data={**data, "counts": counts, "verdicts": made.verdicts.to_pylist()})


def quality(options: argparse.Namespace) -> Outcome:
    """Say how good a dataset is."""
    found = _store(options).quality(options.dataset, version=options.version, as_of=options.as_of)
    text = repr(found) + (f"\nPage: {found.write(options.html)}" if options.html else "")
    tables = {by: found.frame(by).to_dict("records") for by in ("field", "month", "rule", "entity")}
    return Outcome(text=text, data={"dataset": found.dataset, "version": found.version, **found.totals, **tables})


def compact(options: argparse.Namespace) -> Outcome:
    """Join the small files of a dataset."""
    done = _store(options).compact(options.dataset, everything=options.everything)
    return Outcome(text=repr(done), data=done)


def retain(options: argparse.Namespace) -> Outcome:
    """Remove data files that no kept version needs."""
    keep = int(options.keep) if options.keep.isascii() and options.keep.isdigit() else options.keep
    done = _store(options).retain(options.dataset, keep=keep, dry_run=options.dry_run)
    return Outcome(text=repr(done), data=done)


def snapshot(options: argparse.Namespace) -> Outcome:
    """Name the newest versions of datasets; without a name, list the snapshots there are."""
    store = _store(options)
    if options.name is None:
        found = store.snapshots()
        return Outcome(text="\n".join(map(repr, found)) or "There are no snapshots.", data=list(found))
    made = store.snapshot(options.name, note=options.note, datasets=options.dataset or None)
    return Outcome(text=repr(made), data=made)


def backtest(options: argparse.Namespace) -> Outcome:
    """Run a strategy once."""
    strategy = _strategy(options)
    result = one.backtest(strategy, _market(options), start=options.start, end=options.end, **_account(options))
    text = repr(result)
    if options.report:
        text += f"\nReport: {result.report(options.report)}"
    return Outcome(text=text, data={"params": result.params, "metrics": dict(result.metrics)})


def sweep(options: argparse.Namespace) -> Outcome:
    """Run a strategy over a grid."""
    strategy = find_strategy(options.strategy)
    if options.sort not in METRICS:
        raise unknown_name("metric", options.sort, METRICS, where="--sort")
    grid = dict(_axis(strategy, text) for text in options.grid)
    table = grid_of.sweep(
        strategy,
        _market(options),
        grid=grid,
        start=options.start,
        end=options.end,
        max_trials=options.max_trials,
        check=_CHECK[options.check],
        **_account(options),
    ).sort_values(options.sort, ascending=False, kind="stable")
    if options.out:
        _inert(table).to_csv(options.out, index=False)
    shown = [*strategy.parameters, "total_return", "sharpe", "max_drawdown", "n_trades"]
    failed = int(table["error"].notna().sum())
    text = f"{len(table)} trials, {failed} failed; the best by {options.sort}, in sample:\n"
    text += table[shown].head(10).to_string(index=False, float_format=lambda x: f"{x:.4g}")
    return Outcome(text=text, data=table.to_dict("records"))


def optimize(options: argparse.Namespace) -> Outcome:
    """Search in sample."""
    return _searched(many.optimize(**_search(options)), options.report)


def walk_forward(options: argparse.Namespace) -> Outcome:
    """Search and judge out of sample."""
    folds = {name: getattr(options, name) for name in ("train", "test", "anchored", "purge", "embargo")}
    return _searched(many.walk_forward(**_search(options), **folds), options.report)


def runs(options: argparse.Namespace) -> Outcome:
    """List the runs kept."""
    rows = [dataclasses.asdict(row) for row in list_runs(options.runs_dir)]
    if not rows:
        return Outcome(text=f"There are no runs in {options.runs_dir}.", data=[])
    table = pd.DataFrame(rows)[["name", "strategy", "state", "n_done", "n_failed", "n_planned", "best", "seconds"]]
    return Outcome(text=table.to_string(index=False, float_format=lambda x: f"{x:.3g}", na_rep="-"), data=rows)


def resume(options: argparse.Namespace) -> Outcome:
    """Go on with a run; a finished one has nothing left to do."""
    folder = _run_folder(options)
    state = next(row.state for row in list_runs(folder.parent) if row.name == folder.name)
    run = back.resume(folder, workers=options.workers, time_limit=options.time_limit)
    outcome = _searched(run, options.report)
    if state != "finished":
        return outcome
    return dataclasses.replace(outcome, text=f"{run.name} is finished; nothing is left to do. {run.reason}")


def report(options: argparse.Namespace) -> Outcome:
    """Write a run's page."""
    path = back.load_run(_run_folder(options)).report(options.out)
    return Outcome(text=f"Report: {path}", data={"report": str(path)})


def check(options: argparse.Namespace) -> Outcome:
    """Look for look-ahead."""
    found = look(_strategy(options), _market(options), cuts=options.cuts, seed=options.seed, fill=options.fill)
    data = {"ok": found.ok, "findings": list(found.findings), "suspicions": list(found.suspicions)}
    return Outcome(text=repr(found), data=data, code=0 if found.ok else 1)


def _inert(table: pd.DataFrame) -> pd.DataFrame:
    """Text that a spreadsheet would take for a formula, with a quote before it."""
    texts = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    quoted = {name: [_quoted(value) for value in table[name]] for name in texts}
    return table.assign(**quoted)


def _quoted(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _schema(options: argparse.Namespace) -> Schema:
    units = dict(_pair(text, "--field") for text in options.field)
    if options.kind == "facts":
        if not units:
            raise InputError(
                "A new dataset of facts needs its fields: --field NAME=UNIT, such as --field eps=USD/share."
            )
        return Schema.facts(fields=units, calendar=options.calendar)
    return Schema.bars(
        calendar=options.calendar, currency=options.currency, fields=units or None, partial=options.partial
    )


def _market(options: argparse.Namespace) -> Market:
    return _store(options).market(
        options.dataset,
        also=options.also,
        entities=options.entity or None,
        decide=options.decide,
        version=options.version,
        actions=options.actions,
        adjust=options.adjust,
        universe=None if options.universe is None else _universe(options.universe),
    )


def _universe(text: str) -> str | tuple[str, object] | Largest:
    """``members``, ``members:SP500`` or ``largest:500``."""
    name, colon, key = text.partition(":")
    if name == "largest":
        if not (key.isascii() and key.isdigit()):
            raise InputError(f"--universe largest:N needs a whole number of names, but it is {text!r}.")
        return Largest(n=int(key))
    return (name, key) if colon else name


def _store(options: argparse.Namespace) -> Store:
    if not options.store.is_dir():
        raise InputError(f"There is no store in {options.store}; `knowable ingest` makes one.")
    return Store(options.store)


def _strategy(options: argparse.Namespace) -> Strategy:
    strategy = find_strategy(options.strategy)
    return strategy(**dict(_value(strategy, text) for text in options.set))


def _value(strategy: type[Strategy], text: str) -> tuple[str, Any]:
    name, value = _pair(text, "--set")
    return name, _read(_param(strategy, name), value)


def _axis(strategy: type[Strategy], text: str) -> tuple[str, Sequence[Any]]:
    """``n=5:20:5`` or ``kind=a,b`` as a list of values."""
    name, values = _pair(text, "--grid")
    param = _param(strategy, name)
    if ":" not in values:
        return name, [_read(param, value) for value in values.split(",")]
    ends = [_read(param, value) for value in values.split(":")]
    if not isinstance(param, Int) or not 2 <= len(ends) <= 3 or not all(isinstance(end, int) for end in ends):
        raise InputError(f"--grid {text!r}: first:last[:step] is for whole numbers; give a,b,c for others.")
    step = ends[2] if len(ends) == 3 else 1
    if step < 1:
        raise InputError(f"--grid {text!r}: the step must be at least 1, but it is {step}.")
    return name, range(ends[0], ends[1] + 1, step)


def _param(strategy: type[Strategy], name: str) -> Param:
    if name not in strategy.parameters:
        raise unknown_name("parameter", name, strategy.parameters, where=strategy.__name__)
    return strategy.parameters[name]


def _read(param: Param, text: str) -> Any:
    """A value as typed: an option, or a number; what is neither stays text, and the parameter will say so."""
    if isinstance(param, Choice):
        return next((option for option in param.options if str(option) == text), text)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _pair(text: str, flag: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise InputError(f"{flag} takes NAME=VALUE, but {text!r} came.")
    return name, value


def _account(options: argparse.Namespace) -> dict[str, Any]:
    costs = {name: getattr(options, name) for name in COSTS if getattr(options, name) is not None}
    names = [field.name for field in fields(Settings) if field.name != "costs"]
    given = {name: getattr(options, name) for name in names if getattr(options, name, None) is not None}
    return {**given, **({"costs": Costs(**costs)} if costs else {})}


def _search(options: argparse.Namespace) -> dict[str, Any]:
    names = ("objective", "direction", "trials", "workers", "seed", "sampler", "runs_dir", "start", "end", "time_limit")
    return {
        "strategy": find_strategy(options.strategy),
        "market": _market(options),
        "benchmark": _benchmark(options),
        "check": _CHECK[options.check],
        **{name: getattr(options, name) for name in names},
        **_account(options),
    }


def _benchmark(options: argparse.Namespace) -> pd.Series | None:
    if options.benchmark is None:
        return None
    dataset, sign, entity = options.benchmark.partition(":")
    if not sign:
        raise InputError(f"--benchmark takes DATASET:ENTITY, but {options.benchmark!r} came.")
    table = _store(options).read(dataset, entities=[entity], fields=["close"])
    return pd.Series(table["close"].to_numpy(), index=pd.DatetimeIndex(table["event_time"].to_pandas()), name=entity)


def _searched(run: Run, page: Path | None) -> Outcome:
    text = f"{run.summary()}\n\nRun: {run.folder}"
    if page:
        text += f"\nReport: {run.report(page)}"
    data = {
        "run": run.name,
        "folder": str(run.folder),
        "best": run.best,
        "metrics": dict(run.metrics),
        "benchmark_metrics": dict(run.benchmark_metrics),
        "folds": run.folds.to_dict("records"),
        "doubts": list(run.doubts),
        "n_trials": len(run.trials),
        "warnings": list(run.warnings),
    }
    return Outcome(text=text, data=data)


def _run_folder(options: argparse.Namespace) -> Path:
    """A run by name, by folder, or the latest."""
    known: Sequence[str] = [row.name for row in list_runs(options.runs_dir)]
    if options.run == "latest":
        if not known:
            raise UnknownNameError(f"There are no runs in {options.runs_dir}.")
        return run_folder(options.runs_dir, known[0])
    path = Path(options.run)
    return run_folder(path.parent if len(path.parts) > 1 else options.runs_dir, path.name)
