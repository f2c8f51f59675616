"""Public PyTorch programs, unchanged, under PyTorch and under dumbtorch: their first losses must agree.

    python -m tests.conformance.programs FOLDER [NAME ...]

FOLDER holds checkouts of the repositories that PROGRAMS names. Each program runs twice in a copy of its folder, from
the same weights and the same random numbers (`programs_run` says how), until it has called ``backward`` 20 times.
The two lists of losses must agree to 1e-3. Programs without losses must end with status 0. Ends with status 1 where one
differs. MNIST comes from DUMBTORCH_DATA; ``torchvision`` is a small stand-in, and so is ``tensorboard``
where it is not installed.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
STEPS = 20
TOLERANCE = 1e-3


def _nothing(folder: Path) -> None:
    pass


class Program(NamedTuple):
    """A script of a repository: its arguments, what must be there first, and whether it has losses to compare."""

    repository: str
    script: str
    arguments: tuple[str, ...] = ()
    prepare: Callable[[Path], None] = _nothing
    losses: bool = True
    steps: int = STEPS  # fewer where the program is so unsteady that rounding shows earlier
    double: bool = False  # in float64, where rounding would grow to a visible difference within 20 steps


TEXT = "".join(
    f"O God, O God! {who} {does} {what} {where}.\n"
    for where in ("in the house", "under a tree", "by the river", "on the hill", "near the old mill")
    for who in ("The king", "A servant", "My lady", "The fool", "Some poor man", "That child")
    for does in ("sees", "forgets", "takes away", "sings of", "pays for")
    for what in ("the crown", "a white horse", "two letters", "bread and wine", "an empty chair")
)


def _input_text(folder: Path) -> None:
    (folder / "input.txt").write_text(TEXT)


def _corpus(folder: Path) -> None:
    data = folder / "data" / "wikitext-2"
    data.mkdir(parents=True, exist_ok=True)
    for name in ("train", "valid", "test"):
        (data / f"{name}.txt").write_text(TEXT)


def _characters(folder: Path) -> None:
    letters = sorted(set(TEXT))
    data = np.array([letters.index(c) for c in TEXT], dtype=np.uint16)
    target = folder / "data" / "shakespeare_char"
    for name in ("train.bin", "val.bin"):
        data.tofile(target / name)
    with open(target / "meta.pkl", "wb") as file:
        pickle.dump({"vocab_size": len(letters)}, file)


def _citations(folder: Path) -> None:
    """Words and classes for the papers that the program's list of citations names."""
    root = next(parent for parent in (folder, *folder.parents) if (parent / "data" / "cora").is_dir())
    lines = (root / "data" / "cora" / "cora.cites").read_text().splitlines()
    rng = np.random.default_rng(0)
    papers = sorted({paper for line in lines for paper in line.split()})
    classes = rng.integers(7, size=len(papers))
    words = rng.random((len(papers), 100)) < 0.05 + 0.1 * (np.arange(100) % 7 == classes[:, None])
    (root / "data" / "cora" / "cora.content").write_text("".join(
        f"{paper} {' '.join(map(str, row.astype(int)))} Class_{kind}\n"
        for paper, row, kind in zip(papers, words, classes, strict=True)))  # fmt: skip


def _sine_waves(folder: Path) -> None:
    (folder / "traindata.pt").unlink(missing_ok=True)


_MAKEMORE = ("--num-workers", "0", "--max-steps", "21", "--n-embd", "32", "--n-embd2", "32", "--type")
_GPT = (
    "config/train_shakespeare_char.py", "--device=cpu", "--compile=False", "--eval_iters=1", "--log_interval=1",
    "--block_size=64", "--batch_size=4", "--n_layer=2", "--n_head=4", "--n_embd=64", "--max_iters=25",
    "--gradient_accumulation_steps=1", "--dtype=float32",
)  # fmt: skip
_MINGPT = (
    "--trainer.num_workers=0", "--trainer.batch_size=8", "--trainer.max_iters=21", "--model.model_type=None",
    "--model.n_layer=2", "--model.n_head=2", "--model.n_embd=32",
)  # fmt: skip
_LANGUAGE = (
    "--emsize",
    "32",
    "--nhid",
    "32",
    "--batch_size",
    "4",
    "--bptt",
    "12",
    "--dropout",
    "0",
    "--lr",
    "1",
    "--model",
)

PROGRAMS: dict[str, Program] = {
    "regression": Program("examples", "regression/main.py"),
    "mnist": Program("examples", "mnist/main.py", ("--epochs", "1"), double=True),
    "mnist_hogwild": Program("examples", "mnist_hogwild/main.py", ("--epochs", "1", "--dry-run"), losses=False),
    "mnist_rnn": Program("examples", "mnist_rnn/main.py", ("--epochs", "1")),
    "mnist_forward_forward": Program("examples", "mnist_forward_forward/main.py", ("--epochs", "21",
                                                                                   "--train_size", "500")),
    "vae": Program("examples", "vae/main.py", ("--epochs", "1")),
    "dcgan": Program("examples", "dcgan/main.py", ("--dataset", "fake", "--niter", "1", "--batchSize", "8",
                                                   "--ngf", "8", "--ndf", "8", "--workers", "0")),
    "sine_waves": Program("examples", "time_sequence_prediction/generate_sine_wave.py", (), _sine_waves, losses=False),
    "time_sequence": Program("examples", "time_sequence_prediction/train.py", ("--steps", "2")),
    **{f"word_language_model_{kind}": Program("examples", "word_language_model/main.py", (*_LANGUAGE, kind), _corpus)
       for kind in ("RNN_TANH", "RNN_RELU", "LSTM", "GRU", "Transformer")},
    "mingpt_chargpt": Program("minGPT", "projects/chargpt/chargpt.py", _MINGPT, _input_text),
    "mingpt_adder": Program("minGPT", "projects/adder/adder.py", _MINGPT),
    "nanogpt": Program("nanoGPT", "train.py", _GPT, _characters),
    **{f"makemore_{kind}": Program("makemore", "makemore.py", (*_MAKEMORE, kind))
       for kind in ("transformer", "bigram", "mlp", "rnn", "gru", "bow")},
    "reinforce": Program("examples", "reinforcement_learning/reinforce.py"),
    "actor_critic": Program("examples", "reinforcement_learning/actor_critic.py"),
    # PyTorch's own losses, with and without AVX, differ by 1e-3 after three steps and by 1e-2 after seven
    "siamese": Program("examples", "siamese_network/main.py", ("--epochs", "1", "--batch-size", "8",
                                                                 "--lr", "0.01"), steps=4),
    "imagenet": Program("examples", "imagenet/main.py", ("--dummy", "-b", "2", "-j", "0", "-a", "resnet18",
                                                         "--epochs", "1"), double=True),
    **{f"yunjey_{name}": Program("pytorch-tutorial", f"tutorials/{folder}/{name}/main.py",
                                 double=name != "linear_regression")  # whose data are arrays of float32
       for folder, name in (
           ("01-basics", "linear_regression"), ("01-basics", "logistic_regression"),
           ("01-basics", "feedforward_neural_network"), ("02-intermediate", "convolutional_neural_network"),
           ("02-intermediate", "deep_residual_network"), ("02-intermediate", "recurrent_neural_network"),
           ("02-intermediate", "bidirectional_recurrent_neural_network"),
           ("03-advanced", "variational_autoencoder"), ("03-advanced", "generative_adversarial_network"))},
    **{f"johnson_{name}": Program("pytorch-examples", f"{folder}/{name}.py")
       for folder, name in (
           ("autograd", "two_layer_net_autograd"), ("autograd", "two_layer_net_custom_function"),
           ("nn", "two_layer_net_nn"), ("nn", "two_layer_net_optim"), ("nn", "two_layer_net_module"),
           ("nn", "dynamic_net"))},
    "karpathy_bigram": Program("ng-video-lecture", "bigram.py"),
    "made": Program("pytorch-made", "made.py", losses=False),
    **{f"hunkim_{name}": Program("PyTorchZeroToAll", f"{name}.py") for name in (
        "03_auto_gradient", "06_logistic_regression", "07_diabets_logistic", "08_2_dataset_loade_logistic",
        "09_2_softmax_mnist", "10_1_cnn_mnist", "12_2_hello_rnn", "12_4_hello_rnn_emb")},
    **{f"hunkim_{name}": Program("PyTorchZeroToAll", f"{name}.py", losses=False) for name in (
        "09_01_softmax_loss", "12_1_rnn_basics", "13_1_rnn_classification_basics", "13_4_pack_pad")},
    **{f"morvan_{name}": Program("MorvanZhou", f"tutorial-contents/{name}.py")
       for name in ("202_variable", "301_regression", "302_classification", "304_save_reload", "306_optimizer",
                    "403_RNN_regressor", "406_GAN",
                    "501_why_torch_dynamic_graph", "503_dropout", "504_batch_normalization")},
    **{f"morvan_{name}": Program("MorvanZhou", f"tutorial-contents/{name}.py", losses=False)
       for name in ("203_activation", "303_build_nn_quickly", "305_batch_train")},
    "devnag_gan": Program("pytorch-generative-adversarial-networks", "gan_pytorch.py"),
    "mixture_density": Program("mixture-density-network", "examples/ex_1d.py", ("--n-iterations", "21")),
    "tcn_adding": Program("TCN", "TCN/adding_problem/add_test.py", ("--cuda", "--seq_len", "50", "--levels", "4",
                                                                       "--epochs", "1")),
    "tcn_copy": Program("TCN", "TCN/copy_memory/copymem_test.py", ("--cuda", "--blank_len", "30",
                                                                           "--epochs", "1")),
    **{f"torchdiffeq_{kind}": Program("torchdiffeq", "examples/ode_demo.py", ("--data_size", "100", "--niters", "21",
                                                                              *options))
       for kind, options in (("dopri5", ()), ("adjoint", ("--adjoint",)), ("adams", ("--method", "adams")))},
    "pygcn": Program("pygcn", "pygcn/train.py", ("--no-cuda", "--epochs", "21"), _citations),
    "pygat": Program("pyGAT", "train.py", ("--no-cuda", "--epochs", "3", "--nb_heads", "1"), _citations, steps=3),
    **{f"erik_{name}": Program("PyTorch-GAN", f"implementations/{name}/{name}.py", ("--batch_size", "16"),
                               # PyTorch's own losses of ebgan, with and without AVX, differ by 5e-3 after 20
                               steps=8 if name == "ebgan" else STEPS, double=name == "cgan")
       for name in ("gan", "wgan", "wgan_gp", "wgan_div", "lsgan", "cgan", "dcgan", "acgan", "sgan", "ebgan",
                    "infogan", "relativistic_gan", "aae")},
    **{f"minimal_rl_{name}": Program("minimalRL", f"{name}.py") for name in (
        "REINFORCE", "actor_critic", "dqn", "ppo", "ppo-lstm", "acer", "vtrace")},
    "micrograd": Program("micrograd", "test/test_engine.py", losses=False),
}  # fmt: skip


def run(program: Program, checkout: Path, framework: str, work: Path) -> tuple[list[float], str]:
    """Run a program in a folder of its own; its losses, and the end of what it printed if it failed."""
    copy = work / framework
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns(".git", "*.ipynb", "*.png"))
    script = copy / program.script
    folder = script.parent
    program.prepare(folder)
    if program.script.endswith("train.py") and "time_sequence" in program.script:
        _launch(framework, folder / "generate_sine_wave.py", (), work / "ignored.json", copy, False, STEPS)
    report = work / f"{framework}.json"
    done = _launch(framework, script, program.arguments, report, copy, program.double, program.steps)
    losses = json.loads(report.read_text()) if report.exists() else []
    failed = done.returncode != 0 or (program.losses and not losses)
    return losses, (done.stdout[-1500:] + done.stderr[-3000:]) if failed else ""


def _launch(
    framework: str, script: Path, arguments: tuple[str, ...], report: Path, checkout: Path, double: bool, steps: int
) -> subprocess.CompletedProcess[str]:
    runner = Path(__file__).with_name("programs_run.py")
    paths = [str(runner.parent / "stand_ins"), str(ROOT / "python"), str(checkout)]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",  # some number their classes in the order of a set
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",  # programs from before PyTorch 2.6
    }
    command = [
        sys.executable,
        str(runner),
        framework,
        str(report),
        str(steps),
        str(int(double)),
        str(script),
        *arguments,
    ]
    return subprocess.run(
        command, cwd=script.parent, env=environment, capture_output=True, text=True, check=False, timeout=900
    )


def compare(name: str, checkouts: Path) -> str:
    """Run a program both ways and return what is wrong, nothing if all is well."""
    program = PROGRAMS[name]
    checkout = checkouts / program.repository
    if not checkout.is_dir():
        return f"there is no checkout {checkout}"
    with tempfile.TemporaryDirectory() as folder:
        theirs, problem = run(program, checkout, "torch", Path(folder))
        if problem:
            return f"fails under PyTorch:\n{problem}"
        ours, problem = run(program, checkout, "dumbtorch", Path(folder))
        if problem:
            return f"fails under dumbtorch:\n{problem}"
    if len(theirs) != len(ours):
        return f"PyTorch has {len(theirs)} losses, dumbtorch {len(ours)}"
    worst = max((abs(a - b) / max(1.0, abs(a)) for a, b in zip(theirs, ours, strict=True)), default=0.0)
    print(f"    {len(ours)} losses, {ours[:1]} to {ours[-1:]}, largest difference {worst:.1e}", flush=True)
    return "" if worst <= TOLERANCE else f"losses differ: {theirs} under PyTorch, {ours} under dumbtorch"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PROGRAMS)}")
    options = parser.parse_args()
    failed = []
    for name in options.names or PROGRAMS:
        print(name, flush=True)
        problem = compare(name, options.folder)
        if problem:
            failed.append(name)
            print("    " + problem.replace("\n", "\n    "), flush=True)
    print(f"{len(options.names or PROGRAMS) - len(failed)} agree, {len(failed)} do not: {' '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
