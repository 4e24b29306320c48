"""Our side of the pipe: starts a competitor and asks it for steps."""

import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from competitors.workload import SIZES

HERE = Path(__file__).parents[1]
ENVIRONMENTS = HERE.parent / ".venv-reference"


@dataclasses.dataclass(frozen=True)
class Competitor:
    """Something that can do a training step.

    Args:
        name: As in `--only`.
        label: As in the table.
        module: Module of this package that builds the step.
        form: Which of the module's forms.
        environment: Reference environment that it runs in; `None`: tfpriv's own.
        private: Whether it clips and adds noise.
        networks: Networks that it can train.
        checkout: Folder of another checkout, whose tfpriv it imports, or `None`.
    """

    name: str
    label: str
    module: str
    form: str
    environment: str | None = None
    private: bool = True
    networks: tuple[str, ...] = ("cnn", "decoder")
    checkout: Path | None = None

    @property
    def python(self) -> Path:
        if self.environment is None:
            return Path(sys.executable)
        return ENVIRONMENTS / self.environment / "bin" / "python"

    @property
    def available(self) -> bool:
        """Whether its environment is built."""
        if self.environment is None:
            return True
        return (ENVIRONMENTS / self.environment / "built-from").exists()


class CompetitorError(Exception):
    """A competitor is not what it should be, or its process ended."""


class Process:
    """A competitor's process; it sleeps unless asked.

    Args:
        competitor: `Competitor`.
        network: `"cnn"` or `"decoder"`.
        batch: Examples of a step.
    """

    def __init__(self, competitor, network, batch):
        self.competitor, self._network = competitor, network
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed by `quit`)
        self._process = subprocess.Popen(
            [
                *(competitor.python, "-m", f"competitors.{competitor.module}"),
                *("--network", network),
                *("--batch", str(batch)),
                *("--form", competitor.form),
            ],
            cwd=HERE,
            env=_environment_variables(competitor.checkout),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def build(self) -> None:
        """Lets it build its network, of the size that all have."""
        weights, agreed = self.ask("build"), SIZES[self._network]
        if weights != agreed:
            raise CompetitorError(
                f"{self.competitor.name} has {weights:.0f} weights instead of {agreed}."
            )

    def ask(self, command) -> float:
        """Sends a line (`build`, `warm`, `step n`, `peak n`); returns the figure."""
        try:
            print(command, file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise CompetitorError(self._last_words(command))
        return float(answer)

    def quit(self) -> None:
        """Ends the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            with contextlib.suppress(BrokenPipeError):  # it had ended before
                stream.close()

    def _last_words(self, command):
        code = self._process.wait()
        self._log.seek(0)
        return (
            f"{self.competitor.name} ended with code {code} at `{command}`:\n"
            f"{self._log.read()[-2000:]}"
        )


def _environment_variables(checkout):
    """Ours, without what would point another Python at our own packages."""
    foreign = ("PYTHONPATH", "PYTHONHOME", "KERAS_BACKEND")
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    if checkout is not None:
        kept["PYTHONPATH"] = str(checkout)
    return kept | {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        # A pool that spins when idle would run beside the next competitor.
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
    }
