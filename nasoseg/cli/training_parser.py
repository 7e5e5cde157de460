"""The parser of fit, validate, test and predict: a wrong key gets the nearest valid ones."""

import re
from typing import NoReturn

from lightning.pytorch.cli import LightningArgumentParser

import nasoseg
from nasoseg.cli.run_errors import own_error
from nasoseg.errors import NasosegError, nearest

EXAMPLES = {
    "fit": "nasoseg fit --config two_stage --data.store store.h5 --data.fold 0 --run runs/two_stage/fold0",
    "validate": "nasoseg validate --config runs/two_stage/fold0/config.yaml",
    "test": "nasoseg test --config runs/two_stage/fold0/config.yaml",
    "predict": "nasoseg predict --config runs/two_stage/fold0/config.yaml",
}


class HintingParser(LightningArgumentParser):
    """Word a wrong key with the nearest valid ones."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise our own error behind the parser's, or the parser's with a hint."""
        if (ours := own_error(ex)) is not None:
            raise ours
        text = " ".join(message.split())
        raise NasosegError(f"{text[:900]}{self._hint(text)}\nSee `nasoseg fit --help`, or --print_config.")

    def _hint(self, text: str) -> str:
        if match := re.search(r"key='class_path', val='nasoseg\.([\w.]+)'", text):
            return f"\n{match[1]!r}: {nearest(match[1], nasoseg.__all__)}"
        match = re.search(r"(?:[Kk]ey|[Oo]ption) '([^']+)'|[Uu]nrecognized arguments: --([\w.]+)", text)
        if match is None:
            return ""
        key = next(group for group in match.groups() if group)
        keys = _keys(self)
        if "." not in key:  # a key of a config file is named without what it lies in
            keys = [whole.rpartition(".")[2] for whole in keys]
        return f"\n{key!r}: {nearest(key, dict.fromkeys(keys))}"


def _keys(parser: LightningArgumentParser) -> list[str]:
    """List the keys a config may have, those of the shipped models' arguments included."""
    from nasoseg.tasks.two_stage import TwoStageUNet

    keys = [action.dest for action in parser._actions if action.dest not in ("help", "print_config")]
    inner = LightningArgumentParser()
    inner.add_class_arguments(TwoStageUNet, "model.init_args")
    return keys + [action.dest for action in inner._actions if action.dest.startswith("model.")]
