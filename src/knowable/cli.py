"""The command line: parses arguments and calls the same functions a notebook calls, by the same words."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from knowable.errors import InputError, KnowableError

__all__ = ["COSTS", "main"]

COSTS = (
    "fee_bps", "fee_per_share", "fee_min", "half_spread_bps", "slippage_bps",
    "impact", "borrow_bps_year", "cash_rate", "margin_rate",
)  # fmt: skip
"""Names of the costs, as `Costs` has them; a test compares, since importing them would make ``--help`` slow."""

_BAD_INPUT = 2
_FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 bad input, 130 stopped by Ctrl-C."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        commands = import_module("knowable.experiments.commands")  # pandas, numba and the rest: not for --help
        outcome = getattr(commands, options.do)(options)
        print(json.dumps(_plain(outcome.data), indent=2) if options.json else outcome.text, flush=True)
    except InputError as error:
        return _say(error, _BAD_INPUT)
    except KnowableError as error:
        return _say(error, _BAD_INPUT if isinstance(error, LookupError) else _FAILED)
    except KeyboardInterrupt as stop:
        print(f"\n{stop}" if str(stop) else "\nStopped.", file=sys.stderr)
        return 130
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            print(
                f"knowable: {error.filename or 'A file'} cannot be written or read: {error.strerror}.", file=sys.stderr
            )
            return _FAILED
        # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return int(outcome.code)


def _say(error: KnowableError, code: int) -> int:
    lines = [str(error), *getattr(error, "__notes__", [])]
    print("knowable: " + "\n".join(lines), file=sys.stderr)
    return code


def _plain(value: Any) -> Any:
    """Values as JSON has them: NaN and infinities as null, times as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="knowable", description="Research on what was knowable at the time.", allow_abbrev=False
    )
    subs = parser.add_subparsers(dest="command", required=True, metavar="command")
    _ingest(_command(subs, "ingest", "ingest", "add files to a dataset of a store"))
    _read(_command(subs, "read", "read", "print rows of a dataset as they were known"))
    _clean(_command(subs, "clean", "clean", "judge a dataset by rules; flag, withdraw or repair"))
    _quality(_command(subs, "quality", "quality", "say how good a dataset is"))
    _compact(_command(subs, "compact", "compact", "join the small files of a dataset; no answer changes"))
    _retain(_command(subs, "retain", "retain", "remove data files that no kept version needs"))
    _snapshot(_command(subs, "snapshot", "snapshot", "name the versions of today, or list the names"))
    _backtest(_command(subs, "backtest", "backtest", "run a strategy once"))
    _sweep(_command(subs, "sweep", "sweep", "run a strategy over a grid of parameters"))
    _optimize(_command(subs, "optimize", "optimize", "search for the best parameters in sample"))
    _walk_forward(_command(subs, "walk-forward", "walk_forward", "choose on the past, trade what follows"))
    _runs(_command(subs, "runs", "runs", "list the runs kept"))
    _resume(_command(subs, "resume", "resume", "go on with an interrupted run"))
    _report(_command(subs, "report", "report", "write a finished run as an HTML page"))
    _check(_command(subs, "check", "check", "look for look-ahead in a strategy"))
    return parser


def _command(subs: Any, name: str, run: str, words: str) -> argparse.ArgumentParser:
    sub: argparse.ArgumentParser = subs.add_parser(name, help=words, description=words.capitalize() + ".")
    sub.set_defaults(do=run)
    sub.add_argument("--json", action="store_true", help="print JSON for machines")
    return sub


def _ingest(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("dataset", help="name of the dataset; made if absent, with --kind")
    sub.add_argument("files", nargs="+", help="CSV (also .gz) or Parquet files, folders of them, or quoted patterns")
    sub.add_argument("--store", required=True, type=Path, help="folder of the store; made if absent")
    sub.add_argument("--kind", choices=["bars", "facts"], help="kind of a new dataset")
    sub.add_argument("--calendar", help="exchange code such as XNYS, or 24/7")
    sub.add_argument("--currency", help="currency of the prices")
    sub.add_argument("--field", action="append", default=[], metavar="NAME=UNIT", help="a field of a new dataset")
    sub.add_argument("--column", action="append", default=[], metavar="THEIRS=OURS", help="rename a column of the file")
    sub.add_argument("--tz", help="time zone of times that name none")
    sub.add_argument("--known-lag", help="declared lag where the file has no known_time, such as 0s or 1d")
    sub.add_argument("--partial", action="store_true", help="rows of new bars may lack open, high, low, volume")
    sub.add_argument("--workers", type=int, default=0, help="Dask worker processes; 0 for this process")


def _cost(text: str) -> float | str:
    """A number, or the name of a field of the market."""
    try:
        return float(text)
    except ValueError:
        return text


def _version(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text


def _read(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("dataset", help="name of the dataset")
    sub.add_argument("--store", required=True, type=Path, help="folder of the store")
    sub.add_argument("--as-of", help="moment, with a time zone; rows known later are not seen")
    sub.add_argument("--version", type=_version, help="version, or name of a snapshot (default: the newest)")
    sub.add_argument("--entity", action="append", default=[], metavar="NAME", help="only these")
    sub.add_argument("--field", action="append", default=[], metavar="NAME", help="only these")
    sub.add_argument("--start", help="first event time")
    sub.add_argument("--end", help="last event time")
    sub.add_argument("--last", type=int, help="only the last rows of each entity")


def _clean(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("dataset", help="name of the dataset")
    sub.add_argument("--store", required=True, type=Path, help="folder of the store")
    sub.add_argument(
        "--rule",
        action="append",
        default=[],
        metavar="NAME[:FIELD][,SETTING=VALUE...]",
        help="such as jump:close,limit=8,confirm=back,do=quarantine (default: the usual rules, which only flag)",
    )
    sub.add_argument("--dry-run", action="store_true", help="tell what would be found, and write nothing")


def _quality(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("dataset", help="name of the dataset")
    sub.add_argument("--store", required=True, type=Path, help="folder of the store")
    sub.add_argument("--as-of", help="moment, with a time zone; rows known later are not seen")
    sub.add_argument("--version", type=_version, help="version, or name of a snapshot (default: the newest)")
    sub.add_argument("--html", type=Path, help="write a page here")


def _compact(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("dataset", help="name of the dataset")
    sub.add_argument("--store", required=True, type=Path, help="folder of the store")
    sub.add_argument("--everything", action="store_true", help="rewrite large files too")


def _retain(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("dataset", help="name of the dataset")
    sub.add_argument("--store", required=True, type=Path, help="folder of the store")
    sub.add_argument("--keep", default="30d", help="how long, or how many of the newest versions (default: 30d)")
    sub.add_argument("--dry-run", action="store_true", help="tell what would go, and remove nothing")


def _snapshot(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("name", nargs="?", help="such as 2026-q1; without one, the snapshots are listed")
    sub.add_argument("--store", required=True, type=Path, help="folder of the store")
    sub.add_argument("--dataset", action="append", default=[], metavar="NAME", help="only these (default: all)")
    sub.add_argument("--note", default="", help="a sentence for people")


def _market(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("strategy", help="file.py:Name or package.module:Name")
    data = sub.add_argument_group("data")
    data.add_argument("--store", required=True, type=Path, help="folder of the store")
    data.add_argument("--dataset", default="bars", help="dataset of bars (default: bars)")
    data.add_argument("--also", action="append", default=[], metavar="DATASET", help="facts that become fields too")
    data.add_argument("--entity", action="append", default=[], metavar="NAME", help="only these assets")
    data.add_argument("--decide", default="bar_end", help="bar_end, before_next_open, or a lag such as 16h")
    data.add_argument("--version", type=_version, help="version, or name of a snapshot (default: the newest)")
    data.add_argument("--universe", help="members, members:SP500 (a key of it), or largest:500")
    data.add_argument("--actions", metavar="DATASET", help="corporate actions to adjust prices for")
    data.add_argument("--adjust", choices=["total_return", "split", "none"], help="how (default: total_return)")
    data.add_argument("--start", help="first day traded")
    data.add_argument("--end", help="last day traded")


def _account(sub: argparse.ArgumentParser) -> None:
    account = sub.add_argument_group("account")
    account.add_argument("--cash", type=float)
    account.add_argument("--fill", choices=["next_open", "next_close", "next_vwap", "close"])
    account.add_argument("--size-at", choices=["decision", "fill"])
    for cost in COSTS:
        account.add_argument(f"--{cost.replace('_', '-')}", type=_cost, metavar="NUMBER|FIELD")
    account.add_argument("--lot", type=float)
    account.add_argument("--max-leverage", type=float)
    account.add_argument("--leverage-check", choices=["strict", "scale"])
    account.add_argument("--intrabar", choices=["pessimistic", "ohlc", "olhc"])
    account.add_argument("--exit-on-entry-bar", action=argparse.BooleanOptionalAction, default=None)
    account.add_argument("--volume-limit", type=float)
    account.add_argument("--maintenance-margin", type=float)
    account.add_argument("--preset", choices=["vectorbt", "backtesting"])


def _backtest(sub: argparse.ArgumentParser) -> None:
    _market(sub)
    _account(sub)
    sub.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter's value")
    sub.add_argument("--report", type=Path, help="write an HTML page here")


def _sweep(sub: argparse.ArgumentParser) -> None:
    _market(sub)
    _account(sub)
    sub.add_argument(
        "--grid", action="append", required=True, metavar="NAME=VALUES", help="a,b,c or first:last or first:last:step"
    )
    sub.add_argument("--sort", default="sharpe", help="metric to sort by (default: sharpe)")
    sub.add_argument("--out", type=Path, help="write all rows as CSV here")
    sub.add_argument("--max-trials", type=int, default=1_000_000, help="refuse larger grids")
    _look(sub)


def _search(sub: argparse.ArgumentParser, trials: int) -> None:
    _market(sub)
    _account(sub)
    _look(sub)
    search = sub.add_argument_group("search")
    search.add_argument("--objective", default="sharpe", help="metric to improve (default: sharpe)")
    search.add_argument("--direction", choices=["maximize", "minimize"])
    search.add_argument("--trials", type=int, default=trials, help=f"parameter sets to try (default: {trials})")
    search.add_argument("--workers", type=int, default=0, help="Dask worker processes; 0 for this process")
    search.add_argument("--time-limit", type=float, metavar="SECONDS", help="a longer trial counts as failed")
    search.add_argument("--seed", type=int, default=0)
    search.add_argument("--sampler", default="auto", help="auto, gp, parzen, random or grid")
    search.add_argument("--benchmark", metavar="DATASET:ENTITY", help="compare with the close of this")
    search.add_argument("--runs-dir", type=Path, default=Path("runs"), help="where runs are kept (default: runs)")
    search.add_argument("--report", type=Path, help="write an HTML page here")


def _optimize(sub: argparse.ArgumentParser) -> None:
    _search(sub, 200)


def _walk_forward(sub: argparse.ArgumentParser) -> None:
    _search(sub, 100)
    folds = sub.add_argument_group("folds")
    folds.add_argument("--train", default="3y", help="past to choose on: 3y, 6mo, 250b (default: 3y)")
    folds.add_argument("--test", default="1y", help="stretch to trade (default: 1y)")
    folds.add_argument("--anchored", action="store_true", help="let the past grow from the first bar")
    folds.add_argument("--purge", type=int, default=0, help="bars left out between them")
    folds.add_argument("--embargo", type=int, default=0, help="further bars left out there")


def _runs(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--runs-dir", type=Path, default=Path("runs"), help="where runs are kept (default: runs)")


def _run(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("run", help="name of the run, its folder, or 'latest'")
    sub.add_argument("--runs-dir", type=Path, default=Path("runs"), help="where runs are kept (default: runs)")


def _resume(sub: argparse.ArgumentParser) -> None:
    _run(sub)
    sub.add_argument("--workers", type=int, default=0, help="Dask worker processes; 0 for this process")
    sub.add_argument("--time-limit", type=float, metavar="SECONDS", help="a longer trial counts as failed")
    sub.add_argument("--report", type=Path, help="write an HTML page here")


def _report(sub: argparse.ArgumentParser) -> None:
    _run(sub)
    sub.add_argument("--out", type=Path, default=Path("report.html"), help="the page (default: report.html)")


def _look(sub: argparse.ArgumentParser) -> None:
    words = "on look-ahead, sought before the search: refuse (default), warn, or do not look"
    sub.add_argument("--check", choices=["refuse", "warn", "off"], default="refuse", help=words)


def _check(sub: argparse.ArgumentParser) -> None:
    _market(sub)
    sub.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter's value")
    sub.add_argument("--cuts", type=int, default=8, help="random cuts (default: 8)")
    sub.add_argument("--fill", help="of the account; close asks for fills at a price that decides")
    sub.add_argument("--seed", type=int, default=0)


if __name__ == "__main__":
    sys.exit(main())
