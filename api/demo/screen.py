"""The demo's screen: progress, live on a terminal, else in plain lines."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from api.demo.trading_day import DayStep

FRAMES_PER_SECOND = 12
PLAIN_LINES = 8  # of progress, where nothing can be drawn over
WIDTH_MAX = 110


class Screen:
    """Writes to one console. A status line is replaced by the next and leaves nothing behind."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live: Live | None = None
        self._began = time.perf_counter()

    @property
    def width(self) -> int:
        """The number of columns to draw in."""
        return min(self.console.width, WIDTH_MAX)

    def say(self, sentence: str, style: str = "") -> None:
        """Write a line that stays."""
        self.console.print(Text(sentence, style), soft_wrap=True)

    def show(self, drawing: RenderableType) -> None:
        """Draw something that stays."""
        self.console.print()
        self.console.print(drawing, width=self.width)

    def stay(self, url: str) -> None:
        """Show where the console is, and wait for a signal."""
        self.say(f"Console  {url}\nAPI      {url}/v1/pnl\nCtrl-C stops the demo.")
        threading.Event().wait()

    def doing(self, what: str) -> None:
        """Show a status line, on a terminal only."""
        if not self.console.is_terminal:
            return
        if self._live is None:
            self._live = Live(console=self.console, transient=True, refresh_per_second=FRAMES_PER_SECOND)
            self._live.start()
        self._live.update(Text(f"... {what}", style="dim"), refresh=True)

    def clear(self) -> None:
        """Remove the status line."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    @contextlib.contextmanager
    def progress(self) -> Iterator[Callable[[DayStep], None]]:
        """Show progress; yields a function to call after each step of the day."""
        self.clear()
        began = time.perf_counter()
        if not self.console.is_terminal:
            yield lambda step: self._line(step, time.perf_counter() - began)
            return
        shown = _Progress(began)
        with Live(shown, console=self.console, refresh_per_second=FRAMES_PER_SECOND, transient=True):
            yield shown.note

    def _line(self, step: DayStep, seconds: float) -> None:
        if step.number * PLAIN_LINES // step.steps != (step.number - 1) * PLAIN_LINES // step.steps:
            self.say(
                f"{step.now:%H:%M}  {step.orders:,} orders, {step.fills:,} fills, {step.refusals:,} refused, "
                f"{step.seq:,} events, {step.seq / seconds:,.0f} events/s"
            )


class _Progress:
    """The simulated clock, the part of the day that is over, the counters, and events recorded a second."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._step: DayStep | None = None

    def note(self, step: DayStep) -> None:
        self._step = step

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        step = self._step
        if step is None:
            yield Text("... starting the day", style="dim")
            return
        seconds = time.perf_counter() - self._began
        yield Columns([
            Text(f"{step.now:%H:%M}", style="bold"),
            ProgressBar(total=step.steps, completed=step.number, width=min(60, max(8, options.max_width - 20))),
            Text(f"{100 * step.number // step.steps} %"),
        ])  # fmt: skip
        yield Text.assemble(
            *_counter("orders", step.orders), *_counter("fills", step.fills), *_counter("refused", step.refusals),
            *_counter("events", step.seq), f"{step.seq / seconds:,.0f}", (" events/s", "dim"), no_wrap=True,
        )  # fmt: skip


def _counter(name: str, count: int) -> tuple[str, tuple[str, str]]:
    return f"{count:,}", (f" {name}   ", "dim")
