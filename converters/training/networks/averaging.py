"""One network from several: the mean of the weights of runs that share a start.

Runs fine-tuned from one network lie in one valley, and their mean generalises better than each
(M. Wortsman et al., Model soups, arXiv:2203.05482): here from lesions alone, which find the place
best, and from views, which know normal tissue.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def average_weights(networks: Sequence[Network]) -> Network:
    """A copy whose weights and batch statistics are the means of those of `networks`."""
    states = [network.state_dict() for network in networks]
    mean = {
        name: torch.stack([state[name] for state in states]).mean(dim=0)
        if value.dtype.is_floating_point
        else value
        for name, value in states[0].items()
    }
    averaged = copy.deepcopy(networks[0])
    averaged.load_state_dict(mean)
    return averaged
