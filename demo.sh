#!/usr/bin/env bash
# The main job, as a user would type it: real data in, a tuned strategy out, honestly reported.
set -euo pipefail
cd "$(dirname "$0")"
out=demo-output
mkdir -p "$out"

step() { printf '\n\033[1m%s\033[0m\n' "$1"; }

step "1. Ingest: prices, an index, and a series that was revised again and again"
knowable ingest stocks data-samples/us-large-caps.csv.gz --store "$out/store" --kind bars --calendar XNYS --currency USD --known-lag 0s
knowable ingest index data-samples/sp500-level.csv.gz --store "$out/store" --kind bars --calendar XNYS --currency points --known-lag 0s
knowable ingest gdp data-samples/brazil-gdp-vintages.csv.gz --store "$out/store" --kind facts --field "value=index, 1995 = 100" --tz America/Sao_Paulo

step "2. The same quarters, as known at two moments"
knowable read gdp --store "$out/store" --entity pib --as-of 2020-09-30T12:00Z --last 3
knowable read gdp --store "$out/store" --entity pib --as-of 2022-12-31T12:00Z --start 2019-12-31 --end 2020-06-30

step "3. Backtest an example with its defaults"
knowable backtest strategies/momentum.py:Momentum --store "$out/store" --dataset stocks --start 2000-01-01 \
  --fill next_close --fee-bps 5 --slippage-bps 5

step "4. Tune it by walk-forward on a local Dask cluster"
knowable walk-forward strategies/momentum.py:Momentum --store "$out/store" --dataset stocks --start 2000-01-01 \
  --train 6y --test 2y --trials 72 --workers 2 --seed 7 --fill next_close --fee-bps 5 --slippage-bps 5 \
  --benchmark index:SP500 --runs-dir "$out/runs" --report "$out/report.html"

step "5. The run is kept, and there is nothing left to do"
knowable runs --runs-dir "$out/runs"
knowable resume latest --runs-dir "$out/runs"
printf '\nDone in %s s. Open %s in a browser.\n' "$SECONDS" "$out/report.html"
