"""How many cores this process may use."""

from __future__ import annotations

import pytest

from clip_search import cores as module
from clip_search.cores import cores

V2 = "0::/shop.slice/worker.service"
V1 = "4:memory:/docker/1\n1:cpu,cpuacct:/docker/1"


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch, tmp_path):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr(module, "CGROUPS", tmp_path)
    monkeypatch.setattr(module, "OWN_CGROUPS", tmp_path / "own")


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        (None, {}, 16),  # not Linux
        ("", {}, 16),
        (V2, {}, 16),
        (V2, {"shop.slice/worker.service/cpu.max": "max 100000"}, 16),
        (V2, {"shop.slice/worker.service/cpu.max": "200000 100000"}, 2),
        (V2, {"shop.slice/worker.service/cpu.max": "150000 100000"}, 2),
        (V2, {"shop.slice/worker.service/cpu.max": "5000 100000"}, 1),
        (V2, {"shop.slice/worker.service/cpu.max": "6400000 100000"}, 16),  # more than there are
        (V2, {"shop.slice/worker.service/cpu.max": "max 100000", "shop.slice/cpu.max": "300000 100000"}, 3),
        ("0::/", {"cpu.max": "400000 100000"}, 4),  # a container sees its own group as the root
        (V2, {"cpu.max": "not a number"}, 16),
        (V1, {"cpu/docker/1/cpu.cfs_quota_us": "300000", "cpu/docker/1/cpu.cfs_period_us": "100000"}, 3),
        (V1, {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 16),
        (V1, {"cpu.max": "100000 100000", "cpu/cpu.cfs_quota_us": "300000"}, 16),
    ],
)
def test_a_limit_of_a_control_group_counts(own, files, expected, tmp_path):
    if own is not None:
        (tmp_path / "own").write_text(own)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{content}\n")
    assert cores() == expected
