"""Who a process is among those that train together, from the variables that launchers set."""

import pytest

from chexkeras.training.distributed.membership import LAUNCHER, Membership, first_host, membership, of_launched

SLURM = {
    "SLURM_PROCID": "9", "SLURM_NTASKS": "16", "SLURM_JOB_NODELIST": "gpu[007-008]", "SLURM_JOB_ID": "4100",
    "SLURM_LOCALID": "1", "SLURM_STEP_TASKS_PER_NODE": "8(x2)",
}  # fmt: skip
TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "29500"}


def test_slurm_tells_number_first_machine_and_a_port_of_the_job():
    assert membership("slurm", SLURM) == Membership(16, 9, "gpu007", 23_004, local=1)
    assert membership("slurm", {**SLURM, "SLURM_JOB_ID": "4101"}).port == 23_005


def test_a_process_takes_one_device_only_where_several_share_a_machine_and_see_all():
    assert membership("slurm", {**SLURM, "SLURM_STEP_TASKS_PER_NODE": "1(x16)"}).local is None
    # --gpus-per-task shows each process its own.
    assert membership("slurm", {**SLURM, "CUDA_VISIBLE_DEVICES": "3"}).local is None
    assert membership("slurm", {**SLURM, "CUDA_VISIBLE_DEVICES": "0,1,2,3"}).local == 1
    assert membership("torchrun", TORCHRUN).local is None
    assert membership("torchrun", {**TORCHRUN, "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}).local == 1


def test_the_port_is_another_than_the_one_that_torchrun_takes_for_itself():
    assert membership("torchrun", TORCHRUN) == Membership(4, 3, "10.0.0.7", 29_500)
    assert membership("torchrun", {**TORCHRUN, "TORCHELASTIC_RUN_ID": "none"}).port == 29_501


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n1", "n1"),
        ("n2,n1", "n2"),
        ("n[3,5-9]", "n3"),
        ("a-b[001-004].site,n1", "a-b001.site"),
        ("r[1-2]n[7-8]", "r1n7"),
    ],
)
def test_the_first_machine_of_a_list_of_slurm(nodes, first):
    assert first_host(nodes) == first


@pytest.mark.parametrize("how", ["slurm", "torchrun"])
def test_variables_that_are_missing_are_named_with_the_way_out(how):
    with pytest.raises(ValueError, match=rf"--workers {how}: .* not set .*--workers 4"):
        membership(how, {})
    with pytest.raises(ValueError, match="MASTER_PORT is not set"):
        membership("torchrun", {name: value for name, value in TORCHRUN.items() if name != "MASTER_PORT"})


@pytest.mark.parametrize(
    ("name", "value"), [("RANK", "4"), ("RANK", "-1"), ("MASTER_PORT", "0"), ("WORLD_SIZE", "many")]
)
def test_numbers_that_do_not_fit_are_refused(name, value):
    with pytest.raises(ValueError, match=r"expected|count from 0 to 3"):
        membership("torchrun", {**TORCHRUN, name: value})


def test_what_chexkeras_tells_its_own_processes_is_read_back(monkeypatch):
    monkeypatch.delenv("CHEXKERAS_WORKERS_KEY", raising=False)
    told = of_launched(1, 3, 5000)
    found = membership("torchrun", told)
    assert (found.count, found.number, found.host, found.port, found.local) == (3, 1, "127.0.0.1", 5000, None)
    assert found.one_machine
    assert len(found.key) == 32
    assert found.key not in repr(found)
    assert LAUNCHER in told
