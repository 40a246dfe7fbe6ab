"""What functions are called elsewhere, in pandas, charts and the paper of the 101 alphas, and what to write here."""

from __future__ import annotations

__all__ = ["REMEDIES", "SYNONYMS"]

SYNONYMS = {
    "delay": "lag", "sma": "mean", "ema": "ewm", "ewma": "ewm", "wma": "decay_linear", "stddev": "std",
    "correl": "corr", "correlation": "corr", "covariance": "cov", "slope": "beta", "residual": "resid",
    "rsquared": "r2", "signedpower": "signed_power", "indneutralize": "group_neutralize", "barssince": "bars_since",
    "isna": "isnan", "isnull": "isnan", "prod": "product", "percentile": "ts_quantile", "ts_median": "median",
}  # fmt: skip

# attributes of features: name -> what to write
REMEDIES = {
    "shift": "write x.lag(n) with n >= 0; no negative lag exists, because row t may use rows up to t only",
    "rolling": "write x.mean(window), x.std(window), x.sum(window), x.min(window) or x.max(window)",
    "expanding": "write x.expanding_mean(), x.expanding_std(), x.expanding_max() and so on",
    "cumsum": "write x.expanding_sum()",
    "cummax": "write x.expanding_max()",
    "cummin": "write x.expanding_min()",
    "diff": "write x.delta(n)",
    "pct_change": "write x.returns(n)",
    "fillna": "write x.fill(value), or x.ffill() for the last known value; filling backwards would look ahead",
    "bfill": "filling backwards would look ahead; x.ffill() takes the last known value",
    "groupby": "write x.group_mean(groups), x.group_rank(groups), x.group_neutralize(groups) and so on",
    "where": "write x.mask(condition), or where(condition, a, b)",
    "nlargest": "write x.top(n), which is 1.0 for the n largest of the bar",
    "qcut": "write x.quantile(n)",
    "maximum": "write maximum(x, y), of knowable.features",
    "minimum": "write minimum(x, y), of knowable.features",
    "atr": "write atr(high, low, close, window), of knowable.features",
    "regression": "write y.beta(x, window), y.resid(x, window) or y.r2(x, window)",
    "pow": "write x ** p, or x.signed_power(p)",
    "notna": "write ~x.isnan()",
    "iloc": "a feature has no rows until it is evaluated: x.frame().iloc",
    "loc": "a feature has no rows until it is evaluated: x.frame().loc",
}
