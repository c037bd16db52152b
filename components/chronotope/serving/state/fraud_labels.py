"""Events that a label calls anomalous, followed as labels come in: they are nobody's history."""

from collections.abc import Callable

from chronotope.lake.event_labels import AnomalousEvents, EventLabelLog


class FraudLabels:
    """Labels of a dataset, read again when the log of any worker has grown."""

    def __init__(
        self, label_log: EventLabelLog, on_change: Callable[[AnomalousEvents], None]
    ) -> None:
        """Start without labels; ``refresh`` reads them.

        Args:
            label_log: Log of labels.
            on_change: Called with the events when they are others than before.
        """
        self._label_log, self._on_change = label_log, on_change
        self._label_position = 0
        self.anomalous_events = AnomalousEvents()

    def refresh(self) -> None:
        """Read the labels, if there are new ones."""
        label_position = self._label_log.last()
        if label_position == self._label_position:
            return
        anomalous_events = AnomalousEvents.of_labels(self._label_log.read())
        self._label_position = label_position
        if anomalous_events != self.anomalous_events:
            self.anomalous_events = anomalous_events
            self._on_change(anomalous_events)

    def event_ids(self) -> frozenset[str]:
        """Ids of the events in the lake."""
        return self.anomalous_events.event_ids
