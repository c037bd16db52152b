"""Figure of matplotlib that notebooks show without pyplot, which keeps global state."""

import io

from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """Figure that shows itself as PNG where a cell ends with it."""

    def _repr_png_(self) -> bytes:
        """The picture."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()
