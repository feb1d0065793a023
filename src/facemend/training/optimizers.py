"""Optimisers, and their learning rates over a phase."""

import math

import torch
from torch import nn

from facemend.training.config import PhaseConfig
from facemend.training.muon import Muon


def generator_optimizer(network: nn.Module, phase: PhaseConfig) -> torch.optim.Optimizer:
    """The phase's optimiser for all weights of a generator."""
    if phase.optimizer == "muon":
        return Muon(network.parameters(), phase.learning_rate, phase.betas, phase.weight_decay)
    return _adam(network, phase, phase.learning_rate)


def discriminator_optimizer(network: nn.Module, phase: PhaseConfig) -> torch.optim.Optimizer:
    """The phase's optimiser for all weights of a discriminator; AdamW where the generator has Muon."""
    return _adam(network, phase, phase.discriminator_learning_rate)


def _adam(network: nn.Module, phase: PhaseConfig, rate: float) -> torch.optim.Optimizer:
    if phase.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), lr=rate, betas=phase.betas, fused=True)
    return torch.optim.AdamW(
        network.parameters(), lr=rate, betas=phase.betas, weight_decay=phase.weight_decay, fused=True
    )


def rate_at(phase: PhaseConfig, images: int) -> float:
    """Share of the peak learning rate after so many images of a phase."""
    warmup = min(1.0, (images + phase.batch) / phase.warmup_images) if phase.warmup_images else 1.0
    if phase.schedule == "constant":
        return warmup
    done = min(1.0, images / phase.images)
    return warmup * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate
