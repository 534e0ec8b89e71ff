"""Matplotlib figures as PNG and inline SVG.

The same numbers give the same bytes: no dates, no random ids, and a font that comes with matplotlib.
"""

import io
import re

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

# The palette of Okabe and Ito, which all kinds of colour vision can tell apart; tints of it behind text.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
TINTS = ("#9fd0ee", "#f7d48a", "#8fd9bf", "#ecc6da", "#c3e4f7", "#f2b58c", "#f8f2a8", "#d0d0d0")
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "path.simplify": False,
}


def figure(width: float, height: float) -> Figure:
    """An empty figure in the style of the project; sizes in inches."""
    with matplotlib.rc_context(STYLE):
        return Figure(figsize=(width, height), layout="constrained")


def svg(figure: Figure, name: str, description: str) -> Markup:
    """A figure as inline SVG.

    Args:
        name: keeps the ids of figures on one page apart.
        description: text for screen readers.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    label = f'<svg role="img" aria-label="{escape(description)}"'
    return Markup(drawing.replace("<svg", label, 1))


def png(figure: Figure) -> bytes:
    """A figure as PNG, without the software's version in it."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()
