"""Which record comes when: training records by number, held-out records always the same.

Source: CHOICE (WS-TRAINING-15); the stages are those of PAPER §2.3.
"""

from __future__ import annotations

from collections.abc import Sequence

from reference.training.config import TrainingConfig
from reference.training.duplex import duplex_record
from reference.training.record import Record
from reference.training.tasks import TASKS, task_record


def batch_of(config: TrainingConfig, step: int) -> Sequence[Record]:
    """The records of one update: numbers ``step`` · batch and on (WS-TRAINING-15)."""
    first = step * config.batch
    return [
        record_of(config, f"{config.seed}/train/{config.stage}", n, config.drop)
        for n in range(first, first + config.batch)
    ]


def held_out(config: TrainingConfig) -> Sequence[Record]:
    """The held-out records: the same for every seed, none of them ever trained on, all with their
    condition (WS-TRAINING-15)."""
    return [
        record_of(config, f"held-out/{config.stage}", n, drop=0.0) for n in range(config.held_out)
    ]


def record_of(config: TrainingConfig, split: str, n: int, drop: float) -> Record:
    """Record ``n`` of a split: in stage 1 the tasks take turns, later all is duplex
    (WS-TRAINING-10, WS-TRAINING-11)."""
    name = f"{split}/{n}"
    if config.stage == 1:
        task = list(TASKS)[n % len(TASKS)]
        return task_record(config.preset_value, name, task, config.units, drop)
    return duplex_record(config.preset_value, name, config.units, drop)
