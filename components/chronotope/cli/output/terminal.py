"""The one way of text to the terminal: as it stands in the data, and unable to steer it."""

from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from chronotope.contracts.escaping import visible_text


class TerminalConsole(Console):
    """A console whose text is never read as markup and carries no control characters.

    Styles come from ``rich.text.Text`` and ``style=``; ``[red]`` in a title is shown as it is.
    """

    def __init__(self, *, stderr: bool = False, file: IO[str] | None = None, **kwargs: Any) -> None:
        """Open it.

        Args:
            stderr: Whether to write to standard error.
            file: Another file to write to.
            kwargs: More for ``rich.console.Console``, such as ``width``.
        """
        plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
        super().__init__(stderr=stderr, file=file, **(plain | kwargs))

    def render_str(self, text: str, **kwargs: Any) -> Text:
        """A cell or a line, made fit for the terminal before it is measured."""
        return super().render_str(visible_text(text), **kwargs)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Segments of what is printed; what came as a ``Text`` is made fit here."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(visible_text(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Leave it to the command line, which ends quietly."""
        raise BrokenPipeError
