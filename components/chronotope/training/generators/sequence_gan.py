"""Adversarially trained generator of event sequences, the rival of the Markov-renewal process.

The generator is trained by likelihood first, then against a critic with the hinge loss. Item, gap
and place are drawn by straight-through Gumbel-softmax, so that the critic's gradient reaches the
generator; the likelihood stays in its loss.

Source: Jang, Gu and Poole (2017), *Categorical reparameterization with Gumbel-softmax*; Nie,
Narodytska and Patel (2019), *RelGAN*, for the training in two phases.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Catalog, EventLog, Float32, Int64
from chronotope.training.generators.event_generator import MIN_USERS, UserEvents, as_log
from chronotope.training.generators.gan_networks import (
    N_NOISE,
    EventCritic,
    EventGeneratorNet,
    EventSizes,
    EventStep,
)
from chronotope.training.generators.gap_law import N_BINS, GapLaw, fit_gap_law, gap_bins
from chronotope.training.generators.item_tables import users_of
from chronotope.training.generators.user_profiles import (
    Profile,
    UserPopulation,
    fit_profiles,
    tempo_classes,
)

MAX_ITEMS: Final = 20_000
WINDOW_LEN: Final = 24
BATCH_SIZE: Final = 64
N_LIKELIHOOD_EPOCHS: Final = 4
N_ADVERSARIAL_STEPS: Final = 100
_LEARNING_RATE: Final = 4e-3
_ADVERSARIAL_RATE: Final = 5e-4
_TEMPERATURE: Final = 0.7
_LIKELIHOOD_WEIGHT: Final = 0.5
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class _Windows:
    """Windows of events, int64, shape (n, L) each; the hour in radians."""

    item: Tensor
    gap: Tensor
    place: Tensor
    hour: Tensor

    def take(self, event_rows: Tensor) -> "_Windows":
        return _Windows(
            self.item[event_rows],
            self.gap[event_rows],
            self.place[event_rows],
            self.hour[event_rows],
        )


@dataclass(frozen=True, slots=True)
class SequenceGan:
    """A trained generator.

    Attributes:
        net: The generator.
        sizes: Sizes of its outputs.
        profiles: Who the users are.
        gaps: Bins of gaps and resolution of the log.
        has_places: Whether places are generated.
        items_are_places: Whether the place is the item.
    """

    net: EventGeneratorNet
    sizes: EventSizes
    profiles: UserPopulation
    gaps: GapLaw
    has_places: bool
    items_are_places: bool

    @classmethod
    def fit(
        cls,
        log: EventLog,
        catalog: Catalog,
        *,
        min_users: int = MIN_USERS,
        seed: int = 0,
        n_epochs: int = N_LIKELIHOOD_EPOCHS,
        n_adversarial: int = N_ADVERSARIAL_STEPS,
    ) -> Self:
        """Train on a log.

        Args:
            log: The log.
            catalog: Its catalogue.
            min_users: Items of fewer users are never generated.
            seed: Seed of parameters, batches and noise.
            n_epochs: Passes over the windows by likelihood.
            n_adversarial: Steps of generator and critic after it.

        Raises:
            ConfigError: The catalogue is too large for a softmax over all items at every step.
        """
        if catalog.n_items > MAX_ITEMS:
            raise ConfigError(
                f"The adversarial generator takes at most {MAX_ITEMS:,} items",
                received=f"{catalog.n_items:,} items",
                way_out="Choose the generator markov_renewal",
            )
        has_places = not catalog.items_are_places and bool((log.place_idx > 0).any())
        sizes = EventSizes(catalog.n_items, N_BINS, catalog.n_places if has_places else 1)
        classes = tempo_classes(log)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            net, critic = (
                EventGeneratorNet(sizes, _item_bias(log, sizes, min_users)),
                EventCritic(sizes),
            )
            trainer = _GanTrainer(net, critic, sizes, _windows(log, has_places))
            trainer.train_by_likelihood(n_epochs)
            trainer.train_adversarially(n_adversarial)
        profiles, gaps = fit_profiles(log, classes), fit_gap_law(log, classes)
        return cls(net.eval(), sizes, profiles, gaps, has_places, catalog.items_are_places)

    def generate(self, n_users: int, seed: int) -> EventLog:
        """Events of new users 1 to n_users, in the indices of the fitted log."""
        random_generator = np.random.default_rng(seed)
        user_list: list[UserEvents] = []
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(seed)
            while len(user_list) < n_users:
                n_batch = min(256, n_users - len(user_list))
                user_list += self._batch(
                    [self.profiles.draw(random_generator) for _ in range(n_batch)], random_generator
                )
        return as_log(user_list)

    def _batch(self, profiles: list[Profile], rng: np.random.Generator) -> list[UserEvents]:
        """Events of some users, generated side by side."""
        n_steps, n_users = max(profile.n_events for profile in profiles), len(profiles)
        offsets = np.array([profile.utc_offset_min for profile in profiles])
        now_s = np.array([profile.start_s for profile in profiles], np.int64)
        now_s = (now_s + 60 * offsets) // self.gaps.resolution_s * self.gaps.resolution_s
        now_s -= 60 * offsets
        items, places, times_s = np.zeros((3, n_users, n_steps), np.int64)
        hidden_state = self.net.first_state(torch.randn(n_users, N_NOISE))
        for step_idx in range(n_steps):
            item_logits, gap_logits = self.net.logits(hidden_state)
            gap = torch.multinomial(torch.softmax(gap_logits, -1), 1)[:, 0]
            if step_idx:
                now_s = self._next_times(now_s, offsets, gap.numpy(), rng)
            item = torch.multinomial(torch.softmax(item_logits, -1), 1)[:, 0]
            item_share = functional.one_hot(item, self.sizes.n_items).float()
            place_logits = self.net.place_logits(hidden_state, item_share)
            place = torch.multinomial(torch.softmax(place_logits, -1), 1)[:, 0]
            items[:, step_idx], places[:, step_idx], times_s[:, step_idx] = (
                item.numpy(),
                place.numpy(),
                now_s,
            )
            event = _one_hot(item, gap, place, _hour_angle(now_s, offsets), self.sizes)
            hidden_state = self.net.step(event, torch.randn(n_users, N_NOISE), hidden_state)
        lengths = [
            min(profile.n_events, int(np.sum(times < self.profiles.end_s)))
            for profile, times in zip(profiles, times_s, strict=True)
        ]
        return [
            UserEvents(
                items[event_row, :length].astype(np.int32),
                self._place_idx(items[event_row, :length], places[event_row, :length]),
                times_s[event_row, :length],
                int(offsets[event_row]),
                np.full(length, np.nan, np.float32),
            )
            for event_row, length in enumerate(lengths)
        ]

    def _next_times(
        self, now_s: Int64, offsets: Int64, gap: Int64, rng: np.random.Generator
    ) -> Int64:
        return np.array(
            [
                self.gaps.time_after(*arguments, rng)
                for arguments in zip(now_s.tolist(), offsets.tolist(), gap.tolist(), strict=True)
            ],
            np.int64,
        )

    def _place_idx(self, items: Int64, places: Int64) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        chosen = items if self.items_are_places else places * self.has_places
        return chosen.astype(np.int32)


class _GanTrainer:
    """Training of generator and critic on windows of events."""

    def __init__(
        self, net: EventGeneratorNet, critic: EventCritic, sizes: EventSizes, windows: _Windows
    ) -> None:
        self.net, self.critic, self.sizes, self.windows = net, critic, sizes, windows

    def train_by_likelihood(self, n_epochs: int) -> None:
        """Passes over all windows by cross-entropy of item, gap and place."""
        optimizer = torch.optim.Adam(self.net.parameters(), lr=_LEARNING_RATE)
        for _ in range(n_epochs):
            for event_rows in torch.split(torch.randperm(len(self.windows.item)), BATCH_SIZE):
                optimizer.zero_grad()
                torch.autograd.backward(self._likelihood_loss(self.windows.take(event_rows)))
                optimizer.step()

    def train_adversarially(self, n_steps: int) -> None:
        """Alternate steps of critic and generator with the hinge loss."""
        generator_optimizer = torch.optim.Adam(self.net.parameters(), lr=_ADVERSARIAL_RATE)
        critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=_ADVERSARIAL_RATE)
        for _ in range(n_steps):
            batch = self.windows.take(torch.randint(len(self.windows.item), (BATCH_SIZE,)))
            real = _one_hot(batch.item, batch.gap, batch.place, batch.hour, self.sizes)
            fake = self._sample(batch)
            critic_optimizer.zero_grad()
            detached = EventStep(*(part_idx.detach() for part_idx in fake))
            critic_loss = functional.relu(1 - self.critic(real)).mean()
            critic_loss = critic_loss + functional.relu(1 + self.critic(detached)).mean()
            torch.autograd.backward(critic_loss)
            critic_optimizer.step()
            generator_optimizer.zero_grad()
            loss = -self.critic(fake).mean()
            loss = loss + _LIKELIHOOD_WEIGHT * self._likelihood_loss(batch)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
            generator_optimizer.step()

    def _likelihood_loss(self, batch: _Windows) -> Tensor:
        """Mean cross-entropy of the events of windows, each given those before it."""
        events = _one_hot(batch.item, batch.gap, batch.place, batch.hour, self.sizes)
        n_windows, n_steps = batch.item.shape
        hidden_state = self.net.first_state(torch.randn(n_windows, N_NOISE))
        states = []
        for step_idx in range(n_steps):
            states.append(hidden_state)
            event = EventStep(*(part_idx[:, step_idx] for part_idx in events))
            hidden_state = self.net.step(event, torch.randn(n_windows, N_NOISE), hidden_state)
        all_states = torch.stack(states, dim=1)  # (B, L, H)
        item_logits, gap_logits = self.net.logits(all_states)
        place_logits = self.net.place_logits(all_states, events.item)
        parts = zip(
            (item_logits, gap_logits, place_logits),
            (batch.item, batch.gap, batch.place),
            strict=True,
        )
        losses = [functional.cross_entropy(x.flatten(0, 1), y.flatten()) for x, y in parts]
        return torch.stack(losses).sum()

    def _sample(self, batch: _Windows) -> EventStep:
        """Sequences of new users, as differentiable one-hot draws; hours are those of the batch."""
        n_windows, n_steps = batch.item.shape
        hidden_state = self.net.first_state(torch.randn(n_windows, N_NOISE))
        local_hours = torch.stack([batch.hour.sin(), batch.hour.cos()], dim=-1)  # (B, L, 2)
        events = []
        for step_idx in range(n_steps):
            item_logits, gap_logits = self.net.logits(hidden_state)
            item = functional.gumbel_softmax(item_logits, _TEMPERATURE, hard=True)
            gap = functional.gumbel_softmax(gap_logits, _TEMPERATURE, hard=True)
            place_logits = self.net.place_logits(hidden_state, item)
            place = functional.gumbel_softmax(place_logits, _TEMPERATURE, hard=True)
            event = EventStep(item, gap, place, local_hours[:, step_idx])
            hidden_state = self.net.step(event, torch.randn(n_windows, N_NOISE), hidden_state)
            events.append(event)
        return EventStep(*(torch.stack(parts, dim=1) for parts in zip(*events, strict=True)))


def _one_hot(
    item: Tensor, gap: Tensor, place: Tensor, hour_angle: Tensor, sizes: EventSizes
) -> EventStep:
    """Known events as shares."""
    return EventStep(
        functional.one_hot(item, sizes.n_items).float(),
        functional.one_hot(gap, sizes.n_gaps).float(),
        functional.one_hot(place, sizes.n_places).float(),
        torch.stack([hour_angle.sin(), hour_angle.cos()], dim=-1),
    )


def _hour_angle(occurred_s: Int64, offsets: Int64) -> Tensor:
    """Local time of day in radians, float32."""
    angle = (occurred_s + 60 * offsets) % _DAY_S * (2 * np.pi / _DAY_S)
    return torch.from_numpy(angle.astype(np.float32))


def _item_bias(log: EventLog, sizes: EventSizes, min_users: int) -> Tensor:
    """Log popularity of the items that enough users had, shape (n_items,)."""
    event_counts: Float32 = np.bincount(log.item_idx, minlength=sizes.n_items).astype(np.float32)
    n_users = users_of(log.user_idx, log.item_idx.astype(np.int64), sizes.n_items)
    is_kept = n_users >= min(min_users, int(n_users.max()))
    is_kept[0] = False
    return torch.from_numpy(np.where(is_kept, np.log(event_counts + 1.0), -30.0).astype(np.float32))


def _windows(log: EventLog, has_places: bool) -> _Windows:
    """Windows of events that adjoin; the last one of a user reaches back into the one before."""
    user_starts = log.user_start()
    gap_s = np.diff(log.occurred_s, prepend=log.occurred_s[:1])
    gap_s[user_starts == np.arange(len(log))] = 0
    ends = np.append(np.flatnonzero(np.diff(log.user_idx)) + 1, len(log))
    last_rows = [
        np.arange(end, start, -WINDOW_LEN)
        for start, end in zip(user_starts[ends - 1].tolist(), ends.tolist(), strict=True)
    ]
    window_ends = np.concatenate(last_rows)
    event_rows = window_ends[:, None] - WINDOW_LEN + np.arange(WINDOW_LEN)  # (n, L)
    event_rows = np.maximum(
        event_rows, user_starts[window_ends - 1][:, None]
    )  # short users repeat their first
    places = log.place_idx if has_places else np.zeros_like(log.place_idx)
    angle = (log.occurred_s + 60 * log.utc_offset_min.astype(np.int64)) % _DAY_S
    return _Windows(
        torch.from_numpy(log.item_idx[event_rows].astype(np.int64)),
        torch.from_numpy(gap_bins(gap_s)[event_rows]),
        torch.from_numpy(places[event_rows].astype(np.int64)),
        torch.from_numpy((angle[event_rows] * (2 * np.pi / _DAY_S)).astype(np.float32)),
    )
