"""The written file in a real browser: quiet, alone, complete, and deaf to what names try to run."""

import shutil

import numpy as np
import pandas as pd
import pytest

from knowable.report import Doubt, Page, figures, write

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine to open the report with")

EVIL = (
    "<script>window.pwned=1</script>",
    "</script><script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    '"onmouseover="window.pwned=1" x="',
    "<a href='javascript:window.pwned=1'>%{x}</a>{{7*7}}",
    "]]><!--<svg onload=window.pwned=1>",
)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync", "--no-first-run"]
    with sync_playwright() as tool:
        shown = tool.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield shown
        shown.close()


class Desk:
    """Opens pages and remembers everything a quiet page would not say."""

    def __init__(self, browser, folder):
        self.browser, self.folder, self.heard = browser, folder, []

    def open(self, page):
        path = write(page, self.folder / "report.html")
        tab = self.browser.new_page(viewport={"width": 1400, "height": 900}, color_scheme="light")
        tab.on("console", lambda message: self.heard.append(f"console {message.type}: {message.text}"))
        tab.on("pageerror", lambda error: self.heard.append(f"error: {error}"))
        tab.on("dialog", lambda dialog: self.heard.append(f"dialog: {dialog.message}"))
        tab.on("request", lambda request: self.note_request(request.url, path.as_uri()))
        tab.goto(path.as_uri())
        tab.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
        return tab

    def note_request(self, url, own):
        if url != own and not url.startswith(("data:", "blob:")):
            self.heard.append(f"request: {url}")


@pytest.fixture
def opened(browser, tmp_path):
    desk, tabs = Desk(browser, tmp_path), []

    def show(page):
        tabs.append(desk.open(page))
        return tabs[-1]

    yield show
    for tab in tabs:
        tab.close()
    assert desk.heard == []


@pytest.fixture(scope="module")
def desk_of_full(browser, tmp_path_factory):
    return Desk(browser, tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="module")
def full_tab(desk_of_full, make_full):
    """One open tab for all looks at a full page: drawing it is most of the time these tests take."""
    tab = desk_of_full.open(make_full(title="Momentum " + "A" * 400, facts={"key" * 50: "v" * 2000}))
    yield tab
    tab.close()


@pytest.fixture
def full(full_tab, desk_of_full):
    yield full_tab
    full_tab.emulate_media(color_scheme="light")
    full_tab.set_viewport_size({"width": 1400, "height": 900})
    assert desk_of_full.heard == []


def drawn(tab):
    """Names of the charts that hold a drawing."""
    return tab.eval_on_selector_all(
        "[data-figure]", "all => all.filter(e => e.querySelector('svg.main-svg')).map(e => e.dataset.figure)"
    )


def wait_until(tab, expression, expected):
    """Poll from here: the page's own policy forbids the evaluation that Playwright's waiting does inside the page."""
    for _ in range(200):
        if (came := tab.evaluate(expression)) == expected:
            return
        tab.wait_for_timeout(50)
    pytest.fail(f"{expression} stayed {came!r} and never became {expected!r}")


def test_full_page_draws_every_chart_and_section(full, make_page):
    ids = full.eval_on_selector_all("main > section", "all => all.map(e => e.id)")
    assert ids == [
        "verdict", "warnings", "performance", "months", "attribution", "parameters", "folds", "trials", "trading",
        "facts",
    ]  # fmt: skip
    assert drawn(full) == list(figures(make_page()))
    targets = full.eval_on_selector_all("nav a", "all => all.map(a => document.querySelector(a.hash) !== null)")
    assert targets == [True] * 9


def test_log_toggle_changes_the_axis_and_says_so(full):
    axis = "document.getElementById('chart-equity')._fullLayout.yaxis.type"
    pressed = "document.querySelector('[data-scale=log]').getAttribute('aria-pressed')"
    assert full.evaluate(axis) == "linear"
    full.click("[data-scale=log]")
    wait_until(full, axis, "log")
    assert full.evaluate(pressed) == "true"
    full.click("[data-scale=linear]")
    wait_until(full, axis, "linear")
    assert full.evaluate(pressed) == "false"


def test_zoom_in_one_curve_zooms_the_other_and_back(full):
    start = "document.getElementById('chart-{}')._fullLayout.xaxis.range[0].slice(0, 10)"
    whole = full.evaluate(start.format("drawdown"))
    full.locator("#chart-equity").scroll_into_view_if_needed()
    box = full.locator("#chart-equity .nsewdrag").bounding_box()
    across = [box["x"] + box["width"] * share for share in (0.3, 0.6)]
    full.mouse.move(across[0], box["y"] + 80)
    full.mouse.down()
    full.mouse.move(across[1], box["y"] + 82, steps=5)
    full.mouse.up()
    wait_until(full, f"{start.format('drawdown')} > {whole!r}", True)
    assert full.evaluate(start.format("drawdown")) == full.evaluate(start.format("equity"))
    full.locator("#chart-drawdown .nsewdrag").dblclick()
    wait_until(full, start.format("equity"), whole)


def test_trial_table_sorts_both_ways_with_absent_values_last(full, make_page):
    button = full.locator("#trials-table thead th", has_text="sharpe").locator("button")

    def column():
        return full.eval_on_selector_all(
            "#trials-table tbody tr", "rows => rows.map(r => r.cells[6].dataset.key).map(k => k === '' ? null : +k)"
        )

    known = sorted(make_page().trials["sharpe"].dropna())
    button.click()
    assert column() == [*known[::-1], *[None] * 4]
    button.click()
    assert column() == [*known, *[None] * 4]
    assert full.locator("#trials-table th[aria-sort=ascending]").count() == 1


def test_definitions_and_lists_open(full):
    full.locator("#metrics summary", has_text="Sharpe").click()
    assert full.locator("#metrics details[open] p").is_visible()
    full.locator("details.more summary", has_text="orders").click()
    assert full.locator("#orders-table").is_visible()


PAPER = "document.querySelector('#chart-map')._fullLayout.paper_bgcolor"


def test_charts_page_and_print_follow_the_colour_scheme(full):
    card = "getComputedStyle(document.getElementById('trials')).backgroundColor"
    for scheme, rgb, paper in (("dark", "rgb(26, 29, 34)", "#1a1d22"), ("light", "rgb(255, 255, 255)", "#ffffff")):
        full.emulate_media(color_scheme=scheme)
        wait_until(full, PAPER, paper)
        assert full.evaluate(card) == rgb
    full.emulate_media(color_scheme="dark")
    wait_until(full, PAPER, "#1a1d22")
    full.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    wait_until(full, PAPER, "#ffffff")
    full.evaluate("window.dispatchEvent(new Event('afterprint'))")
    wait_until(full, PAPER, "#1a1d22")


@pytest.mark.parametrize("width", [380, 800, 1400])
def test_page_never_scrolls_sideways_nor_squeezes_a_chart(full, make_page, width):
    full.set_viewport_size({"width": width, "height": 900})
    wait_until(full, "document.documentElement.scrollWidth", width)
    spill = (
        "Array.from(document.querySelectorAll('.chart svg.main-svg, figcaption, h1, h2, .doubt'))"
        ".filter(e => e.getBoundingClientRect().right > innerWidth).length"
    )
    wait_until(full, spill, 0)
    heights = "Array.from(document.querySelectorAll('[data-figure]')).map(e => e._fullLayout.height)"
    assert full.evaluate(heights) == [figure.layout.height for figure in figures(make_page()).values()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(full, scheme):
    full.emulate_media(color_scheme=scheme)
    weakest = full.evaluate(CONTRAST)
    assert weakest["ratio"] >= 4.5, weakest


def test_everything_has_a_name_for_a_screen_reader(full):
    assert full.locator("[data-figure]:not([aria-label])").count() == 0
    assert full.locator("table:not(:has(caption))").count() == 0
    assert full.locator("th:not([scope])").count() == 0
    assert full.locator("html[lang]").count() == 1
    assert full.locator("h1").count() == 1


def test_single_backtest_and_shortest_equity_open_quietly(opened, make_walk):
    tab = opened(Page(title="One day", equity=make_walk(1), metrics={"sharpe": float("nan")}))
    assert drawn(tab) == ["equity", "drawdown"]
    assert tab.locator("#folds, #trials, #parameters, #trading").count() == 0


@pytest.mark.parametrize("value", [0.0, pytest.param(float("nan"), marks=pytest.mark.slow)])
def test_constant_and_absent_equity_open_quietly(opened, value):
    index = pd.bdate_range("2020-01-01", periods=40)
    equity = pd.Series(np.full(40, value), index=index)
    tab = opened(Page(title="flat", equity=equity, benchmark=equity))
    assert tab.locator("[data-scale=log]").is_disabled() is (value == 0.0)


def test_script_in_any_text_stays_text(opened, make_page):
    base = make_page()
    evil = EVIL[1]
    trials = base.trials.rename(columns={"lookback": evil, "top": EVIL[4], "sharpe": EVIL[2]})
    trials["weighting"] = [EVIL[i % len(EVIL)] for i in range(len(trials))]
    folds = base.folds.rename(columns={"lookback": evil})
    folds["weighting"] = [EVIL[i % len(EVIL)] for i in range(len(folds))]
    orders = base.orders.assign(asset=evil, side=EVIL[2], reason=EVIL[5])
    trades = base.trades.assign(asset=[EVIL[i % len(EVIL)] for i in range(len(base.trades))])
    page = make_page(
        title=evil,
        subtitle=EVIL[5],
        metrics={**base.metrics, EVIL[2]: 1.0},
        benchmark_metrics={EVIL[4]: 1.0},
        warnings=EVIL,
        facts={text: text for text in EVIL},
        folds=folds.rename(columns={"number": EVIL[0]}),
        trials=trials,
        parameters=(evil, EVIL[4], "weighting"),
        objective=EVIL[2],
        doubts=(Doubt(name=EVIL[0], value=0.0, shown=EVIL[2], sentence=EVIL[5], level="bad"),),
        orders=orders,
        trades=trades,
    )
    tab = opened(page)
    tab.hover("#chart-map")
    tab.hover("#chart-slice_0")
    tab.wait_for_timeout(200)
    assert tab.evaluate("window.pwned") is None
    assert tab.locator("h1").inner_text() == evil
    assert tab.locator("script").count() == 3
    assert tab.locator("img, main svg[onload], [onmouseover], [onerror]").count() == 0
    links = "all => all.filter(a => /javascript/i.test(a.outerHTML)).length"
    assert tab.eval_on_selector_all("a", links) == 0
    assert drawn(tab) == list(figures(page))


def test_policy_of_the_file_stops_scripts_that_are_not_ours(browser, make_walk, tmp_path):
    path = write(Page(title="t", equity=make_walk(5)), tmp_path / "report.html")
    path.write_text(path.read_text(encoding="utf-8").replace("</main>", "</main><script>window.pwned=1</script>"))
    tab = browser.new_page()
    tab.goto(path.as_uri())
    tab.wait_for_selector("html[data-ready]", state="attached")
    assert tab.evaluate("window.pwned") is None
    tab.close()


# WCAG 2.2, 1.4.3: relative luminance of text against the nearest opaque background, translucent ones laid over it.
CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (css) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = css; canvas.fillRect(0, 0, 1, 1);
    const d = canvas.getImageData(0, 0, 1, 1).data; return [d[0], d[1], d[2], d[3] / 255];
  };
  const over = (top, below) => top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3]));
  const light = (c) => c.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    const layers = [];
    for (let n = e; n; n = n.parentElement) layers.push(rgba(getComputedStyle(n).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  let weakest = {ratio: 99, text: ''};
  for (const e of document.querySelectorAll('h1,h2,h3,p,a,td,th,li,dt,dd,summary,figcaption,span,button,caption')) {
    const own = Array.from(e.childNodes).some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.offsetParent || e.closest('.chart')) continue;
    const below = behind(e);
    const [a, b] = [light(over(rgba(getComputedStyle(e).color), below)), light(below)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < weakest.ratio) weakest = {ratio: ratio, text: e.className + ': ' + e.textContent.slice(0, 60)};
  }
  return weakest;
}"""
