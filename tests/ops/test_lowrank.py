"""svd_lowrank, pca_lowrank, pdist."""

import pytest

import dumbtorch

torch = pytest.importorskip("torch")


def both(*shape: int, dtype=torch.float64):
    theirs = torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(1))
    return theirs, dumbtorch.from_dlpack(theirs.clone())


@pytest.mark.parametrize("shape", [(20, 6), (6, 20), (2, 9, 7)])
def test_svd_lowrank_of_low_rank(shape: tuple[int, ...]) -> None:
    left, right = both(*shape[:-1], 3)[1], both(*shape[:-2], 3, shape[-1])[1]
    A = left @ right
    U, S, V = dumbtorch.svd_lowrank(A, 4)
    assert dumbtorch.allclose((U * S.unsqueeze(-2)) @ V.mT, A)
    assert dumbtorch.allclose(S, dumbtorch.linalg.svdvals(A)[..., :4], atol=1e-10)
    shifted = dumbtorch.svd_lowrank(A + 1, 4, M=dumbtorch.ones(1, shape[-1], dtype=A.dtype))
    assert dumbtorch.allclose(shifted[1], S, atol=1e-10)


def test_pca_lowrank() -> None:
    theirs, ours = both(30, 5)
    U, S, V = dumbtorch.pca_lowrank(ours, 5)
    expected = torch.linalg.svdvals(theirs - theirs.mean(0))
    assert dumbtorch.allclose(S, dumbtorch.from_dlpack(expected))
    assert dumbtorch.allclose((U * S) @ V.T, ours - ours.mean(0))
    for arguments in ((9,), (3, True, -1)):
        for package, A in ((torch, theirs), (dumbtorch, ours)):
            with pytest.raises(ValueError, match="must be non-negative integer"):
                package.pca_lowrank(A, *arguments)


@pytest.mark.parametrize("p", [0.0, 1.0, 1.5, 2.0, float("inf")])
def test_pdist(p: float) -> None:
    theirs, ours = both(6, 3)
    theirs.requires_grad_()
    ours.requires_grad_()
    expected, got = torch.pdist(theirs, p), dumbtorch.pdist(ours, p)
    assert dumbtorch.allclose(got, dumbtorch.from_dlpack(expected.detach()))
    (expected**2).sum().backward()
    (got**2).sum().backward()
    assert dumbtorch.allclose(ours.grad, dumbtorch.from_dlpack(theirs.grad))
    for shape in ((1, 3), (0, 3), (4, 0)):
        assert dumbtorch.pdist(dumbtorch.ones(shape)).tolist() == torch.pdist(torch.ones(shape)).tolist()
    for package in (torch, dumbtorch):
        with pytest.raises(RuntimeError, match="only supports"):
            package.pdist(package.ones(3))
