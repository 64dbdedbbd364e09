"""The frame that all explorers of `camlib.widgets` share: controls, a figure, a sentence."""

import base64
import html
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import matplotlib as mpl
from matplotlib.figure import Figure
from torch import Tensor

from camlib import photos, plots, scenes

try:
    import ipywidgets
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "camlib.widgets needs ipywidgets, which is not installed: `pip install ipywidgets`, then "
        "restart the kernel"
    ) from None

S = TypeVar("S", scenes.Scene, scenes.Comparison)


class Explorer:
    """Controls, a figure, and a sentence with its numbers.

    Attributes:
        shows: what the figure is, for readers who do not see it.
        controls: by the words beside them. Setting a `value` draws anew, as moving it does.
        says: the sentence.
        png: the figure, the bytes of a PNG.
        view: the widget.
    """

    shows = ""

    def __init__(self, kind: str, controls: dict[str, Any]) -> None:
        self.kind = kind
        self.controls = controls
        self.says, self.png = "", b""
        self._waiting = False
        # Not an ipywidgets.Image, which has no alternative text.
        self._image, self._text = ipywidgets.HTML(), ipywidgets.HTML()
        row = {"flex_flow": "row wrap", "align_items": "center"}
        self.view = ipywidgets.VBox(
            [ipywidgets.Box(list(controls.values()), layout=row), self._image, self._text]
        )
        for control in controls.values():
            if isinstance(control, ipywidgets.ValueWidget):
                control.observe(self._changed, "value")

    def draw(self) -> None:
        """Show the figure and the sentence for what the controls say."""
        with mpl.rc_context(plots.STYLE):
            file = io.BytesIO()
            # Little compression: the picture travels a short way, and the reader waits.
            self._figure().savefig(file, format="png", pil_kwargs={"compress_level": 3})
        self.png, self.says = file.getvalue(), self._says()
        self._image.value = (
            f'<img alt="{html.escape(self.shows)}; its numbers stand below" '
            f'src="data:image/png;base64,{base64.b64encode(self.png).decode()}" '
            'style="width: 600px; max-width: 100%">'
        )
        self._text.value = (
            '<div role="status" style="max-width: 600px; white-space: pre-line">'
            f"{html.escape(self.says)}</div><small>{html.escape(self._credit())}</small>"
        )

    @contextmanager
    def drawn_once(self) -> Iterator[None]:
        """Several controls are set inside, and the figure is drawn at the end."""
        self._waiting = True
        try:
            yield
        finally:
            self._waiting = False
        self.draw()

    def _changed(self, change: Any) -> None:
        if not self._waiting:
            self.draw()

    def _figure(self) -> Figure:
        raise NotImplementedError

    def _says(self) -> str:
        raise NotImplementedError

    def _credit(self) -> str:
        return ""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """The widget for a front end with a kernel, the figure and the sentence for all others."""
        return {
            **self.view._repr_mimebundle_(),
            "image/png": base64.b64encode(self.png).decode(),
            "text/plain": f"{self.kind}: {self.says}",
        }


class OfScenes(Explorer, Generic[S]):
    """An explorer with a choice of pictures; `_opened` sets its other controls for a new one."""

    def __init__(self, kind: str, offered: Sequence[S], name: str | None) -> None:
        self._offered: dict[str, S] = {scene.name: scene for scene in offered}
        if name is not None and name not in self._offered:
            hint = photos.did_you_mean(str(name), self._offered)
            raise ValueError(f"widgets.{kind}: there is no picture {name!r}{hint}")
        picture = choice("picture", [(scene.title, scene.name) for scene in offered])
        picture.value = name or offered[0].name
        super().__init__(kind, {"picture": picture, **self._controls()})
        picture.unobserve(self._changed, "value")
        picture.observe(self._open, "value")
        self._open(None)

    @property
    def scene(self) -> S:
        """The picture chosen."""
        return self._offered[self.controls["picture"].value]

    def _open(self, change: Any) -> None:
        with self.drawn_once():
            self._opened()

    def _controls(self) -> dict[str, Any]:
        raise NotImplementedError

    def _opened(self) -> None:
        raise NotImplementedError

    def _credit(self) -> str:
        return self.scene.credit

    def _m(self, control: str = "class") -> int:
        return self.scene.classes.index(self.controls[control].value)

    def _truth(self) -> Tensor:
        """The true boxes of the class chosen, in whole pixels of the view, (n, 4)."""
        return self.scene.boxes[self._m()].round()

    def _at(self) -> tuple[int, int]:
        """The place that the sliders `row` and `column` are at."""
        return self.controls["row"].value, self.controls["column"].value

    def _move(self, place: tuple[int, int], cells: Sequence[int]) -> None:
        for name, value, n in zip(("row", "column"), place, cells, strict=True):
            self.controls[name].max = n - 1
            self.controls[name].value = value


WHOLE = {"description_width": "initial"}  # labels are not cut
WIDE = {"width": "280px", "max_width": "100%"}
AS_NEEDED = {"width": "max-content", "max_width": "100%"}


def choice(label: str, options: Sequence[tuple[str, Any]] = ()) -> Any:
    """A drop-down list of (text, value)."""
    return ipywidgets.Dropdown(options=options, description=label, style=WHOLE, layout=AS_NEEDED)


def radio(label: str, options: Sequence[str]) -> Any:
    """Some options side by side, of which one is on, at first the first."""
    style = WHOLE | {"button_width": "auto"}
    return ipywidgets.ToggleButtons(
        options=options, description=label, style=style, layout=AS_NEEDED
    )


def cells(label: str) -> Any:
    """A slider over the rows or columns of a map, from 0."""
    return ipywidgets.IntSlider(description=label, style=WHOLE, layout=WIDE)


def steps(label: str) -> Any:
    """A slider over numbers that `offer` gives."""
    return ipywidgets.SelectionSlider(options=[0], description=label, style=WHOLE, layout=WIDE)


def share_of_maximum(label: str) -> Any:
    """A slider for a threshold."""
    return ipywidgets.FloatSlider(
        value=0.2,
        max=0.95,
        step=0.01,
        readout_format=".0%",
        description=label,
        style=WHOLE,
        layout=WIDE,
    )


def button(label: str, pressed: Any) -> Any:
    """A button; `pressed` is called with it."""
    made = ipywidgets.Button(description=label, layout=AS_NEEDED)
    made.on_click(pressed)
    return made


def upload(label: str) -> Any:
    """A button that takes a picture from the reader's disk."""
    return ipywidgets.FileUpload(accept="image/*", description=label, layout=AS_NEEDED)


def search(label: str, known: Sequence[str], placeholder: str) -> Any:
    """A line to type in, which offers what is known."""
    return ipywidgets.Combobox(
        options=known,
        placeholder=placeholder,
        description=label,
        continuous_update=False,
        style=WHOLE,
        layout=WIDE,
    )


def offer(control: Any, options: Sequence[tuple[str, Any]]) -> None:
    """Other options for a drop-down list or a slider, with the first of them chosen."""
    control.options = options
    control.value = options[0][1]
