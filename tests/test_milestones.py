"""Learning rates that fall in steps, at epochs that the user names."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy import ToyConfig, trainer

from gentool.train.player import milestone_factor
from gentool.train.settings import TrainSettings


def test_the_schedule_of_the_iwae_paper() -> None:
    """3^i epochs at 10^(−i/7): Burda et al. 2016, section 5."""
    milestones, gamma = [1, 4, 13, 40, 121, 364, 1093], 10 ** (-1 / 7)
    epoch = 0
    for i in range(8):
        for inside in (epoch, epoch + 3**i - 0.001):
            assert milestone_factor(milestones, gamma, inside) == pytest.approx(10 ** (-i / 7))
        epoch += 3**i
    assert epoch == 3280


def test_every_player_passes_a_milestone_at_its_epoch(tmp_path: Path) -> None:
    """100 points in batches of 20 are 5 updates an epoch; the mover moves once in two."""
    settings = TrainSettings(epochs=4, batch_size=20, lr_milestones=(2,), lr_gamma=0.5)
    made = trainer(tmp_path, settings, ToyConfig(k=2))
    rates: list[list[float]] = []
    for _ in range(20):
        made.take_step()
        rates.append([float(s.optimizer.param_groups[0]["lr"]) for s in made.players])
    base = [s.player.optimizer.lr for s in made.players]
    scorer = [r[0] / base[0] for r in rates]
    mover = [r[1] / base[1] for r in rates]
    assert scorer == pytest.approx([1.0] * 10 + [0.5] * 10)
    assert mover[1::2] == pytest.approx([1.0] * 5 + [0.5] * 5)
