"""Console that prints text literally, without markup or terminal control sequences."""

from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from chronotope.contracts.escaping import visible_text


class TerminalConsole(Console):
    """Rich console that does not interpret markup in text and escapes control characters.

    Styles are set by ``rich.text.Text`` and ``style=``; ``[red]`` in a title is printed as is.
    """

    def __init__(self, *, stderr: bool = False, file: IO[str] | None = None, **kwargs: Any) -> None:
        """Create a console.

        Args:
            stderr: Whether to write to standard error instead of standard output.
            file: Other file to write to.
            kwargs: Further arguments of ``rich.console.Console``, such as ``width``.
        """
        plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
        super().__init__(stderr=stderr, file=file, **(plain | kwargs))

    def render_str(self, text: str, **kwargs: Any) -> Text:
        """Text of a cell or line, escaped before its width is measured."""
        return super().render_str(visible_text(text), **kwargs)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Segments to print, with the text of ``rich.text.Text`` objects escaped."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(visible_text(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Raise the error, which the error report handles."""
        raise BrokenPipeError
