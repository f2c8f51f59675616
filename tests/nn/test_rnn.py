"""Recurrent layers and cells beside PyTorch's."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import dumbtorch
from tests.nn.support import as_numpy, assert_close, copy_state, random, same_outcome, tensor_of

# PyTorch says so of its own LSTM with projections.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections")

MODES = {
    "lstm": ("LSTM", {}),
    "gru": ("GRU", {}),
    "tanh": ("RNN", {}),
    "relu": ("RNN", {"nonlinearity": "relu"}),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no bias": {"bias": False},
    "two layers": {"num_layers": 2},
    "bidirectional": {"bidirectional": True},
    "batch first": {"batch_first": True},
    "all": {"num_layers": 3, "bidirectional": True, "batch_first": True},
    "projected": {"proj_size": 2, "num_layers": 2, "bidirectional": True},
    "projected, no bias": {"proj_size": 3, "bias": False},
}
CASES = [(m, o) for m in MODES for o in OPTIONS if m == "lstm" or "projected" not in o]


def flat(value: Any) -> list[Any]:
    """The tensors of nested results."""
    if value is None:
        return []
    return [t for one in value for t in flat(one)] if isinstance(value, tuple | list) else [value]


def both(mode: str, inputs: int, hidden: int, dtype: str = "float64", **options: Any) -> list[Any]:
    """The layer in both libraries, with the same weights."""
    name, extra = MODES[mode]
    mine, reference = (
        getattr(T.nn, name)(inputs, hidden, dtype=getattr(T, dtype), **extra, **options) for T in (dumbtorch, torch)
    )
    assert repr(mine) == repr(reference)
    copy_state(mine, reference)
    return [mine, reference]


def states(layer: Any, batch: tuple[int, ...], seed: int = 5, dtype: str = "float64") -> list[np.ndarray]:
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    widths = [layer.proj_size or layer.hidden_size] + [layer.hidden_size] * (layer.mode == "LSTM")
    return [random((count, *batch, width), seed + n, dtype) for n, width in enumerate(widths)]


def compare(
    layers: list[Any], arrays: list[np.ndarray], call: Callable[[Any, Any, list[Any]], Any], dtype: str = "float64"
) -> None:
    """Results and gradients of everything; `call(T, layer, tensors)` runs one."""
    found = []
    for T, layer in zip((dumbtorch, torch), layers, strict=True):
        tensors = [tensor_of(T, a, a.dtype.kind == "f") for a in arrays]
        outputs = flat(call(T, layer, tensors))
        floating = [out for out in outputs if out.dtype.is_floating_point]
        seeds = [tensor_of(T, random(tuple(out.shape), n, dtype)) for n, out in enumerate(floating)]
        wanted = [t for t in tensors if t.requires_grad] + list(layer.parameters())
        found.append((outputs, T.autograd.grad(floating, wanted, seeds)))
    assert_close(found[0][0], found[1][0], dtype, "results")
    assert_close(found[0][1], found[1][1], dtype, "gradients")


def whole(T: Any, layer: Any, tensors: list[Any]) -> Any:
    x, *state = tensors
    return layer(x, (tuple(state) if len(state) > 1 else state[0]) if state else None)


@pytest.mark.parametrize("given", [True, False], ids=["state", "no state"])
@pytest.mark.parametrize(("mode", "options"), CASES)
def test_layer_equals_pytorch(mode: str, options: str, given: bool) -> None:
    layers = both(mode, 3, 5, **OPTIONS[options])
    arrays = [random((4, 2, 3) if not layers[0].batch_first else (2, 4, 3))]
    compare(layers, arrays + (states(layers[0], (2,)) if given else []), whole)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("steps", "batch", "inputs", "hidden"), [(1, 1, 1, 1), (9, 61, 7, 33), (3, 130, 5, 16), (2, 3, 300, 270)]
)
@pytest.mark.parametrize("mode", MODES)
def test_sizes_around_those_of_the_blocks(
    mode: str, steps: int, batch: int, inputs: int, hidden: int, dtype: str
) -> None:
    layers = both(mode, inputs, hidden, dtype, bidirectional=True)
    compare(layers, [random((steps, batch, inputs), 1, dtype), *states(layers[0], (batch,), 5, dtype)], whole, dtype)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_without_batch(mode: str, batch_first: bool) -> None:
    layers = both(mode, 3, 5, batch_first=batch_first, num_layers=2)
    compare(layers, [random((4, 3)), *states(layers[0], ())], whole)
    compare(layers, [random((4, 3))], whole)


@pytest.mark.parametrize("given", [True, False], ids=["state", "no state"])
@pytest.mark.parametrize("enforce_sorted", [True, False])
@pytest.mark.parametrize(
    ("mode", "options"), [(m, {"bidirectional": True, "num_layers": 2}) for m in MODES] + [("lstm", {"proj_size": 2})]
)
def test_packed_sequences(mode: str, options: dict[str, Any], enforce_sorted: bool, given: bool) -> None:
    lengths = [5, 3, 3, 1] if enforce_sorted else [3, 1, 5, 3]

    def call(T: Any, layer: Any, tensors: list[Any]) -> Any:
        x, *state = tensors
        packed = T.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=enforce_sorted)
        output, last = layer(packed, (tuple(state) if len(state) > 1 else state[0]) if state else None)
        assert isinstance(output, T.nn.utils.rnn.PackedSequence)
        padded, back = T.nn.utils.rnn.pad_packed_sequence(output)
        assert back.tolist() == lengths
        return tuple(output)[:2], last, padded

    layers = both(mode, 3, 5, **options)
    compare(layers, [random((5, 4, 3)), *(states(layers[0], (4,)) if given else [])], call)


@pytest.mark.parametrize("mode", MODES)
def test_strided_and_expanded_input(mode: str) -> None:
    def call(T: Any, layer: Any, tensors: list[Any]) -> Any:
        x, *state = tensors
        x = x.permute(2, 0, 1)[::2].flip(1) + 0
        state = [s[:, :1].expand(-1, 6, -1) for s in state]
        return layer(x[:, :, ::2], tuple(state) if len(state) > 1 else state[0])

    layers = both(mode, 2, 3)
    compare(layers, [random((6, 4, 8)), *states(layers[0], (6,))], call)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_of_some_only(mode: str) -> None:
    found = []
    for T, layer in zip((dumbtorch, torch), both(mode, 3, 4), strict=True):
        layer.requires_grad_(False)
        layer.weight_hh_l0.requires_grad_(True)
        x = tensor_of(T, random((5, 2, 3)))
        last = flat(layer(x)[1])[-1]  # the output is not used
        found.append(T.autograd.grad(last.sum(), layer.weight_hh_l0))
        layer.requires_grad_(False)
        x.requires_grad_(True)
        found[-1] += T.autograd.grad(layer(x)[0][-1].sum(), x)
    assert_close(*found)


@pytest.mark.parametrize(
    ("steps", "batch", "inputs", "hidden"), [(6, 4, 3, 5), (1, 3, 8, 16), (9, 70, 33, 40), (30, 5, 64, 48)]
)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("mode", MODES)
def test_half_types(mode: str, dtype: str, steps: int, batch: int, inputs: int, hidden: int) -> None:
    """Nearly what float32 has, from the same halves; bfloat16 may be multiplied as it is (LSTM)."""
    half = getattr(dumbtorch, dtype)
    layer = both(mode, inputs, hidden, "float32", bidirectional=True)[0].to(half)
    wide = copy.deepcopy(layer).float()
    x = tensor_of(dumbtorch, random((steps, batch, inputs), dtype="float32")).to(half)
    found = []
    for module in (layer, wide):
        given = x.to(module.weight_ih_l0.dtype).requires_grad_()
        results = flat(module(given))
        gradients = dumbtorch.autograd.grad(results[0].float().square().sum(), [given, *module.parameters()])
        assert all(t.dtype == given.dtype for t in (*results, *gradients))
        found.append([*results, *gradients])
    for got, expected in zip(*found, strict=True):
        share = 0.02 if dtype == "bfloat16" else 0.003
        assert (got.float() - expected).abs().max() <= share * expected.abs().max()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("mode", "options"), [(m, {}) for m in MODES] + [("lstm", {"proj_size": 2})])
def test_differentiates_twice(mode: str, options: dict[str, Any], packed: bool) -> None:
    layers = both(mode, 2, 3, bidirectional=True, **options)
    found = []
    for T, layer in zip((dumbtorch, torch), layers, strict=True):
        x = tensor_of(T, random((3, 2, 2)), True)
        given = T.nn.utils.rnn.pack_padded_sequence(x, [3, 2]) if packed else x
        output = layer(given)[0]
        output = output.data if packed else output
        # oneDNN has no second derivative of an LSTM's kernel in float64; PyTorch's is that of its operations
        first = T.autograd.grad(output.sin().sum(), [x, *layer.parameters()], create_graph=True)
        found.append(T.autograd.grad(sum((g * g).sum() for g in first), [x, *layer.parameters()]))
    assert_close(*found)


def test_same_result_for_any_number_of_threads() -> None:
    layer = both("lstm", 40, 200, "float32")[0]
    x = tensor_of(dumbtorch, random((6, 70, 40), dtype="float32"))
    threads, found = dumbtorch.get_num_threads(), []
    try:
        for n in (1, 3):
            dumbtorch.set_num_threads(n)
            layer.zero_grad()
            output = layer(x)[0]
            output.sum().backward()
            found.append([as_numpy(t) for t in (output, *(p.grad for p in layer.parameters()))])
    finally:
        dumbtorch.set_num_threads(threads)
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(("mode", "options"), CASES)
def test_state_dicts_go_both_ways(mode: str, options: str) -> None:
    mine, reference = both(mode, 3, 5, **OPTIONS[options])
    assert [(k, tuple(v.shape)) for k, v in mine.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in reference.state_dict().items()
    ]
    assert [[tuple(w.shape) for w in ws] for ws in mine.all_weights] == [
        [tuple(w.shape) for w in ws] for ws in reference.all_weights
    ]
    mine.reset_parameters()
    reference.load_state_dict({k: torch.from_numpy(as_numpy(v)) for k, v in mine.state_dict().items()})
    arrays = [random((4, 2, 3)), *states(mine, (4 if mine.batch_first else 2,))]
    compare([mine, reference], arrays, whole)


def test_first_weights_are_uniform() -> None:
    dumbtorch.manual_seed(3)
    for layer in (dumbtorch.nn.LSTM(30, 25), dumbtorch.nn.GRUCell(30, 25)):
        weights = dumbtorch.nn.utils.parameters_to_vector(layer.parameters())  # some thousands
        assert 0.19 < weights.abs().max() <= 0.2 and abs(weights.mean().item()) < 0.01
        assert abs(weights.std().item() - 0.2 / 3**0.5) < 0.01


def test_dropout_between_layers() -> None:
    layer = dumbtorch.nn.LSTM(3, 4, num_layers=2, dropout=1.0)
    x = dumbtorch.randn(5, 2, 3)
    trained, (h, _) = layer(x)
    second = dumbtorch.nn.LSTM(4, 4)
    second.load_state_dict({f"{k[:-1]}0": v for k, v in layer.state_dict().items() if k.endswith("l1")})
    # everything between the layers is dropped
    assert_close(trained, second(dumbtorch.zeros(5, 2, 4))[0], "float32")
    assert_close(h[0], layer.eval()(x)[1][0][0], "float32")
    assert not np.allclose(as_numpy(layer(x)[0]), as_numpy(trained))


def test_layers_copy_pickle_and_convert() -> None:
    layer = dumbtorch.nn.LSTM(3, 4, bidirectional=True)
    x = dumbtorch.randn(5, 2, 3)
    again = copy.deepcopy(layer)
    assert_close(again(x)[0], layer(x)[0], "float32")
    layer.flatten_parameters()
    wide = layer.double()
    assert wide(x.double())[0].dtype == dumbtorch.float64
    with dumbtorch.no_grad():
        layer.weight_ih_l0.zero_()
    layer.weight_hh_l0 = dumbtorch.nn.Parameter(dumbtorch.zeros(16, 4, dtype=dumbtorch.float64))
    assert layer.all_weights[0][1] is layer.weight_hh_l0
    assert layer(x.double())[0].isfinite().all()


CELLS = [("RNNCell", {}), ("RNNCell", {"nonlinearity": "relu"}), ("LSTMCell", {}), ("GRUCell", {})]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(2, 3), (3,), (70, 3)], ids=str)
@pytest.mark.parametrize(("name", "options"), CELLS)
def test_cell_equals_pytorch(name: str, options: dict[str, Any], shape: tuple[int, ...], bias: bool) -> None:
    cells = [getattr(T.nn, name)(3, 5, bias=bias, dtype=T.float64, **options) for T in (dumbtorch, torch)]
    assert repr(cells[0]) == repr(cells[1])
    copy_state(*cells)
    count = 2 if name == "LSTMCell" else 1
    arrays = [random(shape), *(random((*shape[:-1], 5), 3 + n) for n in range(count))]
    compare(cells, arrays, whole)
    compare(cells, arrays[:1], whole)


def test_functions_take_both_forms() -> None:
    found = []
    for T in (dumbtorch, torch):
        x, h, c = (tensor_of(T, random(s, n)) for n, s in enumerate([(4, 2, 3), (1, 2, 5), (1, 2, 5)]))
        weights = [tensor_of(T, random(s, 9)) for s in ((20, 3), (20, 5), (20,), (20,))]
        rows, sizes = x.reshape(8, 3), T.tensor([2, 2, 2, 2])
        gru = [w[:15] for w in weights]
        found.append(
            [
                T.lstm(x, (h, c), weights, True, 1, 0.0, False, False, False),
                T.lstm(rows, sizes, (h, c), weights, True, 1, 0.0, False, False),
                T.gru(x, h, gru, True, 1, 0.0, False, False, False),
                T.gru(rows, sizes, h, gru[:2], False, 1, 0.0, False, False),
                T.rnn_tanh(x, h, [w[:5] for w in weights], True, 1, 0.0, False, False, False),
                T.rnn_relu(rows, sizes, h, [w[:5] for w in weights], True, 1, 0.0, False, False),
                T.lstm_cell(x[0], (h[0], c[0]), *weights),
                (T.gru_cell(x[0], h[0], *gru[:2]), T.gru_cell(x[0], h[0], *gru)),
            ]
        )
    assert_close(*found)


def _bad(name: str, *arguments: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda T: getattr(T.nn, name)(*arguments, **options) and None


@pytest.mark.parametrize(
    "scenario",
    [
        _bad("LSTM", 3, 5, dropout=2),
        _bad("LSTM", 3, 5, dropout=True),
        _bad("LSTM", 3, 5, dropout=0.5),
        _bad("GRU", 3, 5, bias=1),
        _bad("GRU", 3, 5, batch_first=None),
        _bad("GRU", 3.0, 5),
        _bad("GRU", 3, "5"),
        _bad("GRU", 0, 5),
        _bad("RNN", 3, -5),
        _bad("RNN", 3, 5, 0),
        _bad("RNN", 3, 5, 1, "sin"),
        _bad("RNN", 3, 5, proj_size=2),
        _bad("LSTM", 3, 5, proj_size=5),
        _bad("LSTM", 3, 5, proj_size=-1),
        _bad("RNNBase", "ESN", 3, 5),
        lambda T: T.nn.LSTM(3, 5)(T.zeros(4, 2, 4)),
        lambda T: T.nn.LSTM(3, 5)(T.zeros(4)),
        lambda T: T.nn.RNN(3, 5)(T.zeros(1, 1, 4, 3)),
        lambda T: T.nn.GRU(3, 5)(T.zeros(4, 2, 3), T.zeros(1, 3, 5)),
        lambda T: T.nn.GRU(3, 5)(T.zeros(4, 2, 3), T.zeros(2, 5)),
        lambda T: T.nn.GRU(3, 5)(T.zeros(4, 3), T.zeros(1, 1, 5)),
        lambda T: T.nn.LSTM(3, 5)(T.zeros(4, 2, 3), (T.zeros(1, 2, 5), T.zeros(1, 2, 4))),
        lambda T: T.nn.LSTM(3, 5)(T.zeros(4, 2, 3), (T.zeros(2, 5), T.zeros(2, 5))),
        lambda T: T.nn.LSTM(3, 5)(T.zeros(4, 3), (T.zeros(1, 2, 5), T.zeros(1, 2, 5))),
        lambda T: T.nn.LSTM(3, 5)(T.zeros(4, 2, 3, dtype=T.float64)),
        lambda T: T.nn.LSTM(3, 5)(T.zeros(0, 2, 3)),
        lambda T: T.nn.LSTMCell(3, 5)(T.zeros(1, 2, 3)),
        lambda T: T.nn.LSTMCell(3, 5)(T.zeros(2, 3), (T.zeros(2, 5), T.zeros(1, 2, 5))),
        lambda T: T.nn.GRUCell(3, 5)(T.zeros(2, 3), T.zeros(1, 2, 5)),
        lambda T: T.nn.RNNCell(3, 5, nonlinearity="sin")(T.zeros(2, 3)),
    ],
)
def test_what_is_wrong_raises_as_in_pytorch(scenario: Callable[[Any], Any]) -> None:
    same_outcome(scenario)


@pytest.mark.parametrize(
    "scenario",
    [
        lambda T: T.nn.LSTMCell(3, 5)(T.zeros(2, 4)),
        lambda T: T.nn.GRUCell(3, 5)(T.zeros(2, 3), T.zeros(3, 5)),
        lambda T: T.nn.GRUCell(3, 5)(T.zeros(2, 3, dtype=T.float64)),
        lambda T: T.lstm(T.zeros(4, 2, 3), [T.zeros(1, 2, 5)], [], True, 1, 0.0, False, False, False),
        lambda T: T.lstm(T.zeros(4, 2, 3)),
        lambda T: T.gru(T.zeros(4, 2, 3), T.zeros(1, 2, 5), [T.zeros(2, 3)], True, 1, 0.0, False, False, False),
    ],
)
def test_bad_input_raises_the_same_type(scenario: Callable[[Any], Any]) -> None:
    kinds = []
    for T in (dumbtorch, torch):
        with warnings.catch_warnings(), pytest.raises(Exception) as caught:
            scenario(T)
        assert len(str(caught.value)) > 8
        kinds.append(type(caught.value))
    assert kinds[0] is kinds[1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_empty_batch(dtype: str) -> None:
    layer = dumbtorch.nn.LSTM(3, 5, dtype=getattr(dumbtorch, dtype))
    x = dumbtorch.zeros(4, 0, 3, dtype=getattr(dumbtorch, dtype), requires_grad=True)
    output, (h, c) = layer(x)
    assert output.shape == (4, 0, 5) and h.shape == c.shape == (1, 0, 5)
    output.sum().backward()
    assert x.grad.shape == x.shape and all(not p.grad.any() for p in layer.parameters())


def test_a_batch_size_that_grows_is_refused() -> None:
    layer = dumbtorch.nn.GRU(3, 5)
    for sizes in ([1, 2], [2, 2], [3, 0], [4, -1]):
        packed = dumbtorch.nn.utils.rnn.PackedSequence(dumbtorch.zeros(3, 3), dumbtorch.tensor(sizes))
        with pytest.raises(RuntimeError, match="batch_sizes"):
            layer(packed)


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_training_goes_as_in_pytorch(name: str) -> None:
    """A small language model whose state goes on from window to window, with clipped gradients."""
    tokens = np.random.default_rng(3).integers(0, 11, (41, 4))

    def losses(T: Any) -> list[float]:
        embedding, head = T.nn.Embedding(11, 6), T.nn.Linear(8, 11)
        layer = getattr(T.nn, name)(6, 8, num_layers=2)
        parameters = [p for module in (embedding, layer, head) for p in module.parameters()]
        with T.no_grad():
            for seed, p in enumerate(parameters):
                p.copy_(tensor_of(T, 0.3 * random(tuple(p.shape), seed, "float32")))
        text, state, found = tensor_of(T, tokens), None, []
        optimizer = T.optim.SGD(parameters, lr=0.5, momentum=0.5)
        for start in range(0, 40, 5):
            optimizer.zero_grad()
            output, state = layer(embedding(text[start : start + 5]), state)
            state = tuple(s.detach() for s in state) if name == "LSTM" else state.detach()
            loss = T.nn.functional.cross_entropy(head(output).flatten(0, 1), text[start + 1 : start + 6].flatten())
            loss.backward()
            T.nn.utils.clip_grad_norm_(parameters, 0.25)
            optimizer.step()
            found.append(loss.item())
        return found

    mine, reference = losses(dumbtorch), losses(torch)
    np.testing.assert_allclose(mine, reference, rtol=1e-5)
    assert len(set(mine)) == 8


@pytest.mark.parametrize("cell", ["RNNCell", "LSTMCell", "GRUCell"])
@pytest.mark.parametrize("shapes", [((2, 4), (2, 5)), ((2, 3), (3, 5)), ((2, 3), (2, 4)), ((4,), None)], ids=str)
def test_cells_name_the_sizes_that_do_not_fit(cell: str, shapes: Any) -> None:
    texts = []
    for framework in (dumbtorch, torch):
        states = None if shapes[1] is None else framework.zeros(shapes[1])
        if cell == "LSTMCell" and states is not None:
            states = (states, states)
        with pytest.raises(RuntimeError) as caught:
            getattr(framework.nn, cell)(3, 5)(framework.zeros(shapes[0]), states)
        texts.append(str(caught.value).split("\n")[0])
    assert texts[0] == texts[1]
