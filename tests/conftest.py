"""Makes the Mojo tests (tests/mojo/test_*.mojo) tests of pytest: one item a file, run by `mojo run`."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


class MojoFile(pytest.File):
    """A file with `def main() raises: TestSuite.discover_tests[...]().run()`."""

    def collect(self) -> Iterator[pytest.Item]:
        yield MojoTests.from_parent(self, name="main")


class MojoTests(pytest.Item):
    """All tests of one Mojo file: they are compiled together."""

    def runtest(self) -> None:
        command = ["mojo", "run", "-I", str(ROOT / "mojo"), str(self.path)]
        # Mojo's test suite writes colours unless told otherwise.
        environment = os.environ | {"NO_COLOR": "1"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        self.add_report_section("call", "mojo", done.stdout)
        if done.returncode:
            raise MojoFailure(done.stdout)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        return str(excinfo.value) if isinstance(excinfo.value, MojoFailure) else str(excinfo.getrepr())

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, self.path.name


class MojoFailure(Exception):
    """What the compiler or the failing tests printed."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--device cuda` runs the tests of the op table on that device."""
    parser.addoption("--device", default="cpu", help="where the tests of the op table compute: cpu (default) or cuda")


def pytest_configure(config: pytest.Config) -> None:
    """Tell tests/ops/harness.py, which is imported later, the device."""
    os.environ["DUMBTORCH_TEST_DEVICE"] = config.getoption("--device")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tests of the op table when the device that was asked for is not there."""
    device = config.getoption("--device")
    if device == "cpu":
        return
    import dumbtorch

    if not dumbtorch.cuda.is_available():
        mark = pytest.mark.skip(reason=f"--device {device}: there is none")
        for item in items:
            if item.path.parent.name == "ops":
                item.add_marker(mark)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take the Mojo files in; helpers beside them have other names."""
    if file_path.suffix == ".mojo" and file_path.name.startswith("test_"):
        return MojoFile.from_parent(parent, path=file_path)
    return None
