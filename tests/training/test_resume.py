"""A run that is killed, at any moment and many times, ends with the weights and the log of one that was not.

DUMBTORCH_TEST_KILLS=20 kills twenty times; the default is few, for time.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dumbtorch
from dumbtorch.serialization import _reading

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("DUMBTORCH_TEST_KILLS", "5"))
BATCHES = 3 * (13 + 5)  # of three epochs with their validations


def start(folder: Path, workers: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "tests" / "training" / "crash.py"), str(folder), str(workers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(folder: Path, workers: int) -> list[str]:
    process = start(folder, workers)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return out.splitlines()


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_runs_end_alike(workers: int, tmp_path: Path) -> None:
    assert len(finished(tmp_path / "whole", workers)) == BATCHES + 1
    source = random.Random(4)
    folder, kills = tmp_path / "killed", 0
    while kills < KILLS:
        # After some batches and a moment: in a step, in a checkpoint, in a validation, between two epochs.
        aim, moment = source.randrange(0, max(2, 2 * BATCHES // KILLS)), source.random() * 0.004
        process = start(folder, workers)
        assert process.stdout is not None
        for _ in range(aim):
            if process.stdout.readline() == "done\n":
                break
        else:
            time.sleep(moment)
            process.kill()
        process.communicate(timeout=60)
        if process.returncode == 0:  # it was done before it could be killed: once more from the start
            assert (folder / "final.pt").read_bytes() == (tmp_path / "whole" / "final.pt").read_bytes()
            folder = tmp_path / f"killed {kills}"
        else:
            kills += 1
    assert finished(folder, workers)[-1] == "done"
    assert (folder / "final.pt").read_bytes() == (tmp_path / "whole" / "final.pt").read_bytes()
    assert (folder / "log.csv").read_text() == (tmp_path / "whole" / "log.csv").read_text()
    assert sorted(file.name for file in folder.iterdir()) == ["best.pt", "final.pt", "last.pt", "log.csv"]
    for name in ("last.pt", "best.pt"):
        mine, whole = (dumbtorch.load(each / name) for each in (folder, tmp_path / "whole"))
        assert str(mine) == str(whole)


def test_nothing_is_lost_where_saving_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "last.pt"
    dumbtorch.save({"a": dumbtorch.ones(3)}, file)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        dumbtorch.save({"a": dumbtorch.zeros(3)}, file)
    assert _reading.load(file)["a"].tolist() == [1, 1, 1]
