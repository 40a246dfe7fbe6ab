"""One figure set for notebook, HTML report and web page.

`write(page, path)` makes one self-contained HTML file, `render(page)` its text, `figures(page)` the same charts for a
notebook. A `Page` is plain values: it knows nothing of strategies, markets or runs.
"""

from knowable.report.document import render, write
from knowable.report.figures import figures
from knowable.report.page import Doubt, Page

__all__ = ["Doubt", "Page", "figures", "render", "write"]
