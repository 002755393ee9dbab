"""The loop that both branches share: batches made ahead, AdamW, an average of the weights."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

BATCHES_AHEAD = 3
GRADIENT_LIMIT = 5.0

Network = TypeVar("Network", bound=nn.Module)
Batch = TypeVar("Batch")


class LearningPace(Protocol):
    """How long and how fast to learn: what both schedules have."""

    @property
    def epochs(self) -> int:
        """Times through the samples."""

    @property
    def learning_rate(self) -> float:
        """At its highest."""

    @property
    def weight_decay(self) -> float:
        """Of weights, not of biases and normalisation."""

    @property
    def warmup_share(self) -> float:
        """Of all steps, in which the rate rises."""

    @property
    def averaging(self) -> float:
        """Decay of the moving average of the weights."""

    @property
    def seed(self) -> int:
        """Of dropout; the windows have generators of their own."""


def made_ahead(make: Callable[[int], Batch], starts: Sequence[int]) -> Iterator[Batch]:
    """`make` of each start, in order, made in one background thread."""
    with ThreadPoolExecutor(max_workers=1) as maker:
        pending = [maker.submit(make, start) for start in starts[:BATCHES_AHEAD]]
        for start in starts[BATCHES_AHEAD:]:
            batch = pending.pop(0).result()
            pending.append(maker.submit(make, start))
            yield batch
        for last in pending:
            yield last.result()


def fit(
    network: Network,
    batches: Callable[[int], Iterable[Batch]],
    loss_of: Callable[[Network, Batch], Tensor],
    pace: LearningPace,
    *,
    steps_per_epoch: int,
) -> Network:
    """Train `network` in place; returns the exponential moving average of its weights."""
    torch.manual_seed(pace.seed)
    network.to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(network)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": pace.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=pace.learning_rate,
    )
    step = 0
    for epoch in range(pace.epochs):
        network.train()
        started, losses = time.monotonic(), []
        for batch in batches(epoch):
            rate = _rate((step + 1) / (steps_per_epoch * pace.epochs), pace.warmup_share)
            for group in optimiser.param_groups:
                group["lr"] = pace.learning_rate * rate
            loss = loss_of(network, batch)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_LIMIT)
            optimiser.step()
            step += 1
            # Early steps would otherwise drag the start along.
            _average(averaged, network, min(pace.averaging, (1 + step) / (10 + step)))
            losses.append(float(loss.detach()))
        seconds = time.monotonic() - started
        print(
            f"epoch {epoch + 1}/{pace.epochs}: loss {np.mean(losses):.4f}, {seconds:.0f} s",
            flush=True,
        )
    return averaged


def _rate(progress: float, warmup_share: float) -> float:
    if progress < warmup_share:
        return progress / warmup_share
    rest = (progress - warmup_share) / (1 - warmup_share)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, rest)))


def _average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    # `state_dict` hands out detached tensors, so nothing of this is recorded for gradients.
    pairs = zip(averaged.state_dict().values(), network.state_dict().values(), strict=True)
    for mean, value in pairs:
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)
