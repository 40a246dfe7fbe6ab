"""What a run is asked to do, as plain values that a journal's header can hold and anyone can read."""

from __future__ import annotations

import numbers
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Self

from knowable.backtest.settings import Settings
from knowable.data.market import Market
from knowable.errors import InputError, RunError, unknown_name
from knowable.experiments.code import pin_strategy
from knowable.metrics import METRICS
from knowable.runs.canonical import trial_key
from knowable.strategy import Strategy
from knowable.validate.splits import Fold

__all__ = ["RunSpec", "engine_versions"]

_FORMAT = 1
_LESS_IS_BETTER = frozenset({"annual_volatility", "turnover"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """Everything that decides the result of a run; two equal specs give equal trials.

    Attributes:
        kind: ``"optimize"`` or ``"walk_forward"``.
        strategy: the strategy's name.
        code: what `pin_strategy` says of its code.
        market: fingerprint, shape, span, calendar and pins of the data.
        settings: cash, fills, costs and the rest of the account.
        objective: metric that search improves.
        direction: ``"maximize"`` or ``"minimize"``.
        n_trials: trials a study.
        seed: the run's seed; each study draws its own from it.
        sampler: name of the sampler.
        folds: (number, train, test) of each fold; for ``"optimize"`` one with an empty test.
        versions: releases of what computed it.
    """

    kind: str
    strategy: str
    code: Mapping[str, Any]
    market: Mapping[str, Any]
    settings: Mapping[str, Any]
    objective: str
    direction: str
    n_trials: int
    seed: int
    sampler: str
    folds: tuple[Fold, ...]
    versions: Mapping[str, str]

    @classmethod
    def of(
        cls,
        kind: str,
        strategy: type[Strategy],
        market: Market,
        settings: Settings,
        *,
        objective: str,
        direction: str | None,
        trials: int,
        seed: int,
        sampler: str,
        folds: tuple[Fold, ...],
    ) -> Self:
        """Check the wishes of a user and pin code, data and versions. Raises: InputError, UnknownNameError."""
        if objective not in METRICS:
            raise unknown_name("metric", objective, METRICS, where="objective")
        usual = "minimize" if objective in _LESS_IS_BETTER else "maximize"
        direction = usual if direction is None else direction
        if direction not in ("maximize", "minimize"):
            raise unknown_name("direction", direction, ["maximize", "minimize"])
        for name, value, least in (("trials", trials, 1), ("seed", seed, 0)):
            if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
                raise InputError(f"`{name}` must be a whole number >= {least}, but {name}={value!r}.")
        if not strategy.parameters:
            raise InputError(
                f"{strategy.__name__} declares no parameters, so there is nothing to search.\n"
                "Declare one, such as lookback = kn.Int(20, 252), or use kn.backtest."
            )
        return cls(
            kind=kind,
            strategy=strategy.__name__,
            code=pin_strategy(strategy).plain(),
            market=_describe(market),
            settings=asdict(settings),
            objective=objective,
            direction=direction,
            n_trials=int(trials),
            seed=int(seed),
            sampler=sampler,
            folds=folds,
            versions=engine_versions(),
        )

    def header(self) -> dict[str, Any]:
        """As plain values for a journal."""
        page = {name: getattr(self, name) for name in self.__slots__ if name != "folds"}
        folds = [{"number": f.number, "train": list(f.train), "test": list(f.test)} for f in self.folds]
        return {"format": _FORMAT, **page, "folds": folds}

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> Self:
        """Read what `header` wrote. Raises: RunError for another format."""
        if header.get("format") != _FORMAT:
            raise RunError(
                f"The run has specification format {header.get('format')}; this release reads {_FORMAT}.\n"
                f"It was made by knowable {header.get('versions', {}).get('knowable', '(unknown)')}."
            )
        folds = tuple(Fold(number=f["number"], train=tuple(f["train"]), test=tuple(f["test"])) for f in header["folds"])
        fields = {name: header[name] for name in cls.__slots__ if name != "folds"}
        return cls(**fields, folds=folds)

    def account(self) -> Settings:
        """The settings as a value again."""
        return Settings.from_plain(self.settings)

    def study_name(self, fold: Fold) -> str:
        """Name of a fold's study."""
        return f"fold-{fold.number}" if self.kind == "walk_forward" else "all"

    def spans(self) -> dict[str, tuple[int, int]]:
        """Study name -> the rows its trials are scored on."""
        return {self.study_name(fold): fold.train for fold in self.folds}

    def key(self, study: str, params: Mapping[str, Any]) -> str:
        """Name of a trial: code, parameters, data, rows, account, engine. Not the seed: a trial has no chance in it."""
        return trial_key(
            code=self.code["fingerprint"],
            params=dict(params),
            market=self.market["fingerprint"],
            rows=list(self.spans()[study]),
            settings=dict(self.settings),
            engine=self.versions["knowable"],
        )


def engine_versions() -> dict[str, str]:
    """Releases of what computes a result."""
    names = ("knowable", "numpy", "numba", "pandas", "scipy", "distributed")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _describe(market: Market) -> dict[str, Any]:
    return {
        "fingerprint": market.fingerprint,
        "n_bars": market.n_bars,
        "n_assets": market.n_assets,
        "first": market.index[0].isoformat(),
        "last": market.index[-1].isoformat(),
        "calendar": market.calendar,
        "bars_per_year": market.bars_per_year,
        "fields": list(market.panels),
        "pins": [dict(pin) for pin in market.pins],
    }
