"use strict";
// Draws the charts, follows the reader's colour scheme, sorts tables. Reads nothing but this page.
(function () {
  const data = JSON.parse(document.getElementById("page-data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: "hover",
    modeBarButtons: [["toImage", "resetScale2d"]],
    plotlyServerURL: "",
    showTips: false,
  };
  const charts = Array.from(document.querySelectorAll("[data-figure]"));

  function theme(name) {
    return name === "dark" ? data.dark : data.light;
  }

  function draw(element) {
    const figure = data.figures[element.dataset.figure];
    const layout = Object.assign({}, figure.layout, { template: theme(dark.matches ? "dark" : "light"), autosize: true });
    return Plotly.newPlot(element, figure.data, layout, config);
  }

  function retheme(name) {
    charts.forEach((element) => Plotly.relayout(element, { template: theme(name) }));
  }

  function linkTimes(first, second) {
    // Zooming one of two charts in time zooms the other; the flag stops the echo.
    let busy = false;
    const follow = (from, to) => from.on("plotly_relayout", (change) => {
      if (busy) return;
      if (!Object.keys(change).some((key) => key.startsWith("xaxis."))) return;
      const axis = from.layout.xaxis;
      const update = axis.autorange ? { "xaxis.autorange": true } : { "xaxis.range": axis.range.slice() };
      busy = true;
      Plotly.relayout(to, update).finally(() => { busy = false; });
    });
    follow(first, second);
    follow(second, first);
  }

  function sortTable(table, column, button) {
    const head = button.closest("th");
    const down = head.getAttribute("aria-sort") !== "descending";
    table.querySelectorAll("th").forEach((th) => th.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const numeric = head.classList.contains("num") || head.classList.contains("time");
    const rows = Array.from(table.tBodies[0].rows).map((row) => ({ row: row, key: row.cells[column].dataset.key }));
    const sign = down ? -1 : 1;
    rows.sort((a, b) => {
      if (a.key === "" || b.key === "") return (a.key === "") - (b.key === ""); // what is absent goes last either way
      return sign * (numeric ? Number(a.key) - Number(b.key) : a.key.localeCompare(b.key, "en", { numeric: true }));
    });
    table.tBodies[0].append(...rows.map((item) => item.row));
  }

  document.querySelectorAll("table[data-sortable]").forEach((table) => {
    table.querySelectorAll("thead th").forEach((th, column) => {
      const button = th.querySelector("button");
      button.addEventListener("click", () => sortTable(table, column, button));
    });
  });

  document.querySelectorAll("[data-scale]").forEach((button) => {
    button.addEventListener("click", () => {
      document.querySelectorAll("[data-scale]").forEach((b) => b.setAttribute("aria-pressed", String(b === button)));
      const chart = document.getElementById("chart-equity");
      const scale = button.dataset.scale;
      Plotly.relayout(chart, { "yaxis.type": scale, "yaxis.dtick": null, "yaxis.autorange": true }).then(() => {
        // over most of a decade and more, ticks at 1, 2 and 5 only: Plotly would crowd all nine digits
        const range = chart.layout.yaxis.range;
        if (scale === "log" && range[1] - range[0] > 0.7) Plotly.relayout(chart, { "yaxis.dtick": "D2" });
      });
    });
  });

  Promise.all(charts.map(draw)).then(() => {
    const [first, second] = ["chart-equity", "chart-drawdown"].map((id) => document.getElementById(id));
    if (first && second) linkTimes(first, second);
    dark.addEventListener("change", () => retheme(dark.matches ? "dark" : "light"));
    window.addEventListener("beforeprint", () => {
      document.querySelectorAll("details.more").forEach((item) => { item.open = false; });
      retheme("light");
    });
    window.addEventListener("afterprint", () => retheme(dark.matches ? "dark" : "light"));
    document.documentElement.dataset.ready = "yes";
  });
})();
