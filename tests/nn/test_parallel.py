"""DataParallel: without a device, and with two parts of a batch on one (the CPU stands for both)."""

from typing import Any

import pytest

import dumbtorch
from dumbtorch import nn

torch = pytest.importorskip("torch")
CPU = dumbtorch.device("cpu")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = nn.Parameter(dumbtorch.eye(3))
        self.tied = self.second
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: Any, scale: float = 1.0, add: Any = None) -> Any:
        y = self.tied(self.second(self.first(x).tanh())) * scale
        return {"y": y if add is None else y + add, "sum": y.sum()}


def test_without_devices_it_is_the_module() -> None:
    net = nn.Linear(4, 2)
    wrapped = nn.DataParallel(net)
    theirs = torch.nn.DataParallel(torch.nn.Linear(4, 2))
    if not dumbtorch.cuda.is_available():
        assert wrapped.device_ids == theirs.device_ids == []
    assert list(wrapped.state_dict()) == list(theirs.state_dict()) == ["module.weight", "module.bias"]
    assert repr(wrapped) == repr(theirs)
    x = dumbtorch.ones(3, 4)
    assert dumbtorch.equal(wrapped.cpu()(x), net(x))


@pytest.mark.parametrize("count", (1, 2, 3, 5))
def test_parts_give_the_same_result_and_gradients(count: int) -> None:
    net = Net()
    x, add = dumbtorch.randn(5, 4), dumbtorch.randn(5, 3)
    expected = net(x, scale=2.0, add=add)
    expected["y"].square().sum().backward()
    grads = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    wrapped = nn.DataParallel(net, [CPU] * count)
    found = wrapped(x, scale=2.0, add=add)
    dumbtorch.testing.assert_close(found["y"], expected["y"])
    assert found["sum"].shape == ((min(count, 5),) if count > 1 else ())
    found["y"].square().sum().backward()
    for p, grad in zip([p for p in net.parameters() if p.grad is not None], grads, strict=True):
        dumbtorch.testing.assert_close(p.grad, grad)
    with dumbtorch.no_grad():
        assert not nn.parallel.data_parallel(net, (x,), [CPU] * count)["y"].requires_grad


def test_containers_are_cut_and_put_together() -> None:
    x = dumbtorch.arange(6).reshape(3, 2)
    parts = nn.parallel.scatter({"a": (x, [x, "text"]), "b": None}, [CPU, CPU])
    assert [p["a"][0].tolist() for p in parts] == [[[0, 1], [2, 3]], [[4, 5]]]
    assert [p["a"][1][1] for p in parts] == ["text", "text"] and parts[0]["b"] is None
    assert nn.parallel.gather([(x, None), (x, None)], CPU)[0].shape == (6, 2)
    with pytest.raises(AssertionError, match="number of modules"):
        nn.parallel.parallel_apply([nn.Identity()], [1, 2])


def test_a_module_elsewhere_is_named() -> None:
    if dumbtorch.cuda.is_available():
        pytest.skip("the index below is that of a device")
    with pytest.raises(
        RuntimeError, match=r"on device cuda:0 \(device_ids\[0\]\) but found one of them on device: cpu"
    ):
        nn.DataParallel(nn.Linear(2, 2), [0, 1])(dumbtorch.ones(2, 2))
