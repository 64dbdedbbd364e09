"""Two pictures around the cover figure: `python book/social.py` writes both into book/_static.

social.png is what a link to the book shows in a message; epub-cover.png is the cover of the ePub.
"""

import matplotlib
from cover import FILE, draw, few_colours
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

SOCIAL, COVER = FILE.with_name("social.png"), FILE.with_name("epub-cover.png")
TITLE = "Class activation\nmaps, step by step"
SUBTITLE = "A book in notebooks on Zhou et al.,\nCVPR 2016: what a network told only\n\
what is in a photograph says about where"
INK, PAPER = "#14213d", "#f7f5f0"


def sheet(
    figure: Image.Image, size: tuple[int, int], corner: tuple[int, int], title: float, left: int
) -> Image.Image:
    """The figure on paper of a size in pixels, the title above `left` pixels from the edge.

    Args:
        figure: what to show, pasted with its upper left corner at `corner`, (x, y).
        size: (width, height) of the sheet.
        title: the title's height from the top, as a share of the sheet's height.
    """
    width, height = size
    fig = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor=PAPER)
    text = {"color": INK, "va": "top", "linespacing": 1.25}
    points = 0.03 * (width if height > width else width / 2.1)
    fig.text(left / width, 1 - title, TITLE, size=1.55 * points, weight="bold", **text)
    below = title + 6 * points / height
    fig.text(left / width, 1 - below, SUBTITLE, size=0.7 * points, **text)
    canvas = FigureCanvasAgg(fig)
    with matplotlib.rc_context({"font.family": "DejaVu Sans"}):
        canvas.draw()
    paper = Image.frombuffer("RGBA", size, canvas.buffer_rgba()).convert("RGB")
    paper.paste(figure, corner)
    return paper


def social() -> Image.Image:
    """1200 x 630, the size that the services which show previews ask for."""
    figure = draw(panel=236)
    x, y = 1200 - figure.width, (630 - figure.height) // 2
    return sheet(figure, (1200, 630), (x, y), title=0.24, left=36)


def epub_cover() -> Image.Image:
    """1200 x 1800: the title above the cover figure."""
    figure = draw(panel=397)
    return sheet(figure, (1200, 1800), (0, 800), title=0.12, left=80)


if __name__ == "__main__":
    few_colours(social()).save(SOCIAL, optimize=True)
    few_colours(epub_cover()).save(COVER, optimize=True)
