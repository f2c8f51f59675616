"""Finding and fetching the files of a data set."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TIMEOUT = (5, 30)  # seconds to connect, and between two packets


class DataError(Exception):
    """A data file is missing, damaged or something else than it claims to be. The message names it."""


class NoNetworkError(DataError):
    """None of the mirrors could be reached."""


def cache_folder(name: str) -> Path:
    """Where downloads of that data set are kept for this user."""
    folder: Path = _package("platformdirs").user_cache_path("dumbtorch") / name
    return folder


def fill(folder: Path, files: Mapping[str, str], mirrors: Sequence[str]) -> None:
    """Download the files (name -> MD5) that ``folder`` lacks. A file gets its name once it is complete and right.

    NoNetworkError where no mirror answers, DataError for a damaged file that cannot be replaced.
    """
    for name, md5 in files.items():
        file = folder / name
        damaged = file.exists() and hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() != md5
        if file.exists() and not damaged:
            continue
        try:
            _download(name, md5, mirrors, folder)
        except NoNetworkError as error:
            if damaged:
                raise DataError(f"{file}: damaged (wrong MD5), and cannot be downloaded again: {error}") from error
            raise


def _download(name: str, md5: str, mirrors: Sequence[str], folder: Path) -> None:
    pooch, requests = _package("pooch"), _package("requests")
    problems = []
    for mirror in mirrors:
        downloader = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT)
        try:
            pooch.retrieve(mirror + name, f"md5:{md5}", fname=name, path=folder, downloader=downloader)
            return
        except ValueError as error:  # pooch: the MD5 is wrong
            problems.append(f"{mirror} sent a damaged {name}: {error}")
        except requests.exceptions.RequestException as error:
            problems.append(f"{mirror}: {type(error).__name__}")
    raise NoNetworkError("; ".join(problems))


def _package(name: str) -> Any:
    # Imported when something is to be downloaded: who has the files does not need them.
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"downloading data sets needs {name}: pip install 'dumbtorch[datasets]'") from error
