"""Convolution, pooling and resizing, forwards and backwards, at the shapes of image networks."""

from __future__ import annotations

from benchmarks.cases import Case
from benchmarks.layers import both


def cases() -> list[Case]:
    """The rows of this family."""
    images, volume = (8, 64, 56, 56), (2, 16, 16, 32, 32)
    return [
        *both("conv2d, 8 x 64 x 56 x 56, 64 of 3 x 3", "conv2d", images, (64, 64, 3, 3), padding=1),
        *both("conv2d, 8 x 128 x 28 x 28, 128 of 3 x 3", "conv2d", (8, 128, 28, 28), (128, 128, 3, 3), padding=1),
        *both("conv2d, 8 x 256 x 14 x 14, 256 of 3 x 3", "conv2d", (8, 256, 14, 14), (256, 256, 3, 3), padding=1),
        *both("conv2d, 8 x 64 x 56 x 56, 128 of 3 x 3 by 2", "conv2d", images, (128, 64, 3, 3), padding=1, stride=2),
        *both("conv2d, 8 x 64 x 56 x 56, 256 of 1 x 1", "conv2d", images, (256, 64, 1, 1)),
        *both("conv2d, 4 x 3 x 112 x 112, 64 of 7 x 7, stride 2", "conv2d", (4, 3, 112, 112), (64, 3, 7, 7), padding=3,
              stride=2),
        *both("conv2d, 8 x 64 x 56 x 56, 64 single of 3 x 3", "conv2d", images, (64, 1, 3, 3), padding=1, groups=64),
        *both("conv1d, 16 x 64 x 512, 64 of 5", "conv1d", (16, 64, 512), (64, 64, 5), padding=2),
        *both("conv3d, 2 x 16 x 16 x 32 x 32, 32 of 3 x 3 x 3", "conv3d", volume, (32, 16, 3, 3, 3), padding=1),
        *both("conv_transpose2d, 64 x 64 x 7 x 7, 32 of 4 x 4, stride 2", "conv_transpose2d", (64, 64, 7, 7),
              (64, 32, 4, 4), padding=1, stride=2),
        *both("conv_transpose2d, 8 x 128 x 28 x 28, 64 of 4 x 4, stride 2", "conv_transpose2d", (8, 128, 28, 28),
              (128, 64, 4, 4), padding=1, stride=2),
        *both("max_pool2d, 8 x 64 x 56 x 56, 3 x 3 by 2", "max_pool2d", images, kernel_size=3, stride=2, padding=1),
        *both("max_pool3d, 2 x 16 x 16 x 32 x 32, 2 x 2 x 2", "max_pool3d", volume, kernel_size=2),
        *both("avg_pool2d, 8 x 64 x 56 x 56, 3 x 3 by 2", "avg_pool2d", images, kernel_size=3, stride=2, padding=1),
        *both("avg_pool3d, 2 x 16 x 16 x 32 x 32, 2 x 2 x 2", "avg_pool3d", volume, kernel_size=2),
        *both("adaptive_avg_pool2d, 8 x 256 x 14 x 14, to 1", "adaptive_avg_pool2d", (8, 256, 14, 14), output_size=1),
        *both("adaptive_avg_pool2d, 8 x 64 x 56 x 56, to 7", "adaptive_avg_pool2d", images, output_size=7),
        *both("adaptive_avg_pool2d, 8 x 64 x 56 x 56, to 9", "adaptive_avg_pool2d", images, output_size=9),
        *both("adaptive_max_pool2d, 8 x 64 x 56 x 56, to 9", "adaptive_max_pool2d", images, output_size=9),
        *both("interpolate, 8 x 64 x 28 x 28, nearest, twice", "interpolate", (8, 64, 28, 28), scale_factor=2),
        *both("interpolate, 8 x 64 x 28 x 28, bilinear, twice", "interpolate", (8, 64, 28, 28), scale_factor=2,
              mode="bilinear"),
        *both("interpolate, 8 x 64 x 28 x 28, bicubic, twice", "interpolate", (8, 64, 28, 28), scale_factor=2,
              mode="bicubic"),
        *both("interpolate, 8 x 3 x 224 x 224, bilinear, to 160", "interpolate", (8, 3, 224, 224), size=160,
              mode="bilinear"),
        *both("interpolate, 8 x 3 x 224 x 224, antialiased, to 96", "interpolate", (8, 3, 224, 224), size=96,
              mode="bilinear", antialias=True),
        *both("interpolate, 2 x 16 x 16 x 32 x 32, trilinear, twice", "interpolate", volume, scale_factor=2,
              mode="trilinear"),
        *both("grid_sample, 8 x 16 x 56 x 56, bilinear", "grid_sample", (8, 16, 56, 56), (8, 56, 56, 2),
              align_corners=False),
        *both("unfold, 8 x 16 x 28 x 28, 3 x 3", "unfold", (8, 16, 28, 28), kernel_size=3, padding=1),
        *both("fold, 8 x 144 x 784, 3 x 3", "fold", (8, 144, 784), output_size=28, kernel_size=3, padding=1),
        *both("pad, 8 x 64 x 28 x 28, reflect", "pad", (8, 64, 28, 28), pad=(1, 1, 1, 1), mode="reflect"),
        *both("pixel_shuffle, 8 x 64 x 28 x 28, 2", "pixel_shuffle", (8, 64, 28, 28), upscale_factor=2),
    ]  # fmt: skip
