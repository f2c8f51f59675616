"""Short-time Fourier transforms: the spectra of overlapping frames, and the signal that they came from."""

from __future__ import annotations

from typing import Any

from dumbtorch import _dtypes
from dumbtorch.ops.fourier import as_numbers, c2c, c2r, r2c
from dumbtorch.ops.linalg_base import type_name
from dumbtorch.ops.table import FUNCTIONS as F
from dumbtorch.ops.table import composite


def _window(window: Any, win_length: int, n_fft: int, like: Any, name: str) -> Any:
    """The window in the middle of n_fft points."""
    if window is None:
        kind = {_dtypes.complex64: _dtypes.float32, _dtypes.complex128: _dtypes.float64}.get(like.dtype, like.dtype)
        window = F["ones"](win_length, dtype=kind, device=like.device)
    if window.ndim != 1 or window.shape[0] != win_length:
        raise RuntimeError(
            f"{name}: expected a 1D window tensor of size equal to win_length={win_length}, but got window with size "
            f"{list(window.shape)}"
        )
    if win_length == n_fft:
        return window
    left = (n_fft - win_length) // 2
    return F["cat"]([window.new_zeros(left), window, window.new_zeros(n_fft - win_length - left)])


@composite()
def stft(
    input: Any, n_fft: int, hop_length: Any = None, win_length: Any = None, window: Any = None, center: bool = True,
    pad_mode: str = "reflect", normalized: bool = False, onesided: Any = None, return_complex: Any = None,
    align_to_window: Any = None,
) -> Any:  # fmt: skip
    """The transforms of overlapping frames: (batch, frequencies, frames). Reference: ``torch.stft``."""
    name = "stft"
    if return_complex is None:
        if not (input.is_complex() or (window is not None and window.is_complex())):
            raise RuntimeError(
                "stft requires the return_complex parameter be given for real inputs, and will further require that "
                "return_complex=True in a future PyTorch release."
            )
        return_complex = True
    if not (input.dtype.is_floating_point or input.dtype.is_complex):
        raise RuntimeError(f"stft: expected a tensor of floating point or complex values, but got {type_name(input)}")
    if input.ndim not in (1, 2):
        raise RuntimeError(f"stft: expected a 1D or 2D tensor, but got {input.ndim}D")
    hop = n_fft // 4 if hop_length is None else hop_length
    width = n_fft if win_length is None else win_length
    x = input.unsqueeze(0) if input.ndim == 1 else input
    if center:
        half = n_fft // 2
        x = F["pad"](x.unsqueeze(1), [half, half], mode=pad_mode).squeeze(1)
    length = x.shape[-1]
    if n_fft <= 0 or n_fft > length:
        raise RuntimeError(f"stft: expected 0 < n_fft < {length}, but got n_fft={n_fft}")
    if hop <= 0:
        raise RuntimeError(f"stft: expected hop_length > 0, but got hop_length={hop}")
    if width <= 0 or width > n_fft:
        raise RuntimeError(f"stft: expected 0 < win_length <= n_fft, but got win_length={width}")
    frames = x.unfold(-1, n_fft, hop)
    if window is not None or width < n_fft:
        frames = frames * _window(window, width, n_fft, x, name)
    if onesided is None:
        onesided = not frames.is_complex()
    elif onesided and frames.is_complex():
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    scale = 1 if normalized else 0
    frames = as_numbers(frames)
    out = r2c(frames, (2,), scale) if onesided else c2c(frames, (2,), scale, True)
    out = out.transpose(1, 2)
    out = out.squeeze(0) if input.ndim == 1 else out
    return out if return_complex else F["view_as_real"](out)


@composite()
def istft(
    input: Any, n_fft: int, hop_length: Any = None, win_length: Any = None, window: Any = None, center: bool = True,
    normalized: bool = False, onesided: Any = None, length: Any = None, return_complex: bool = False,
) -> Any:  # fmt: skip
    """The signal of which `stft` made frames, where their windows overlap enough. Reference: ``torch.istft``."""
    name = "istft"
    if not input.is_complex():
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with return_complex=True."
        )
    hop = n_fft // 4 if hop_length is None else hop_length
    width = n_fft if win_length is None else win_length
    if input.numel() == 0:
        raise RuntimeError("istft: input tensor cannot be an empty tensor.")
    if input.ndim not in (2, 3):
        raise RuntimeError(f"istft: expected a tensor with 2 or 3 dimensions, but got {input.ndim}")
    x = input.unsqueeze(0) if input.ndim == 2 else input
    points, count = x.shape[1], x.shape[2]
    if onesided is None:
        onesided = points != n_fft
    wanted = n_fft // 2 + 1 if onesided else n_fft
    if points != wanted:
        raise RuntimeError(
            f"istft: expected the frequency dimension (3rd to the last) of the input tensor to match n_fft"
            f"{' / 2 + 1' if onesided else ''} when onesided={onesided}, but got {points}"
        )
    if not 0 < hop <= width:
        raise RuntimeError(f"istft: expected 0 < hop_length <= win_length, got hop_length={hop}, win_length={width}")
    if not 0 < width <= n_fft:
        raise RuntimeError(f"istft: expected 0 < win_length <= n_fft, got win_length={width}, n_fft={n_fft}")
    if return_complex and onesided:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    weights = _window(window, width, n_fft, x, name)
    x = x.transpose(1, 2)
    scale = 1 if normalized else 2
    if return_complex:
        frames = c2c(x, (2,), scale, False)
    else:
        half = x if onesided else x.narrow(-1, 0, n_fft // 2 + 1)
        frames = c2r(half, (2,), scale, n_fft)
    whole = n_fft + hop * (count - 1)
    places = (F["arange"](count).unsqueeze(1) * hop + F["arange"](n_fft)).reshape(-1)
    frames = (frames * weights).reshape(x.shape[0], -1)
    signal = frames.new_zeros((x.shape[0], whole)).index_add(1, places, frames)
    squares = (weights * weights).expand(count, n_fft).reshape(-1)
    envelope = squares.new_zeros(whole).index_add(0, places, squares)
    start = n_fft // 2 if center else 0
    if length is not None:
        end = min(start + length, whole)
    else:
        end = whole - start
    signal, envelope = signal.narrow(1, start, end - start), envelope.narrow(0, start, end - start)
    if envelope.abs().min().item() <= 1e-11:
        raise RuntimeError("istft: window overlap add min: 1")
    signal = signal / envelope
    if length is not None and end - start < length:
        signal = F["pad"](signal, [0, length - (end - start)])
    return signal.squeeze(0) if input.ndim == 2 else signal
