"""Models to and from Hugging Face's hub, through its own mixin; the package is loaded when it is first needed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Self

from nasoseg.errors import NasosegError, writing
from nasoseg.tasks.blueprint import FROM_THE_DATA, OF_TRAINING, check_described, class_path, given_arguments


class Shareable:
    """Save a model for others and load theirs, as a folder or from Hugging Face's hub.

    It notes with what arguments a model is made, so that the folder can say so.
    """

    blueprint: dict[str, Any]
    """The ``class_path`` and ``init_args`` that build it."""

    model_card: str | None
    """The text of its card, where it comes from a run or a shared folder."""

    def __new__(cls, *arguments: Any, **named: Any) -> Self:
        """Note the arguments."""
        made = super().__new__(cls)
        given = given_arguments(cls, arguments, named)
        # Not by setattr: a module takes no attribute before its __init__.
        made.__dict__["blueprint"] = {"class_path": class_path(cls), "init_args": given}
        made.__dict__["model_card"] = None
        return made

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *, card: str | None = None, **hub: Any
    ) -> str | None:
        """Write the model into a folder: ``config.json``, ``model.safetensors`` and ``README.md``.

        Args:
            save_directory: The folder, made if need be. Files of these names are replaced.
            card: Text of the ``README.md``; by default the card of the run that the model comes from.
            **hub: Of ``huggingface_hub.ModelHubMixin.save_pretrained``, such as ``push_to_hub`` and ``repo_id``.

        Returns:
            The address of the commit if it was pushed, else None.

        Raises:
            NasosegError: If nobody noted how a part of the model was built, the disk or the hub refuses, or
                huggingface_hub is not installed.
        """
        with writing(save_directory):
            Path(save_directory).mkdir(parents=True, exist_ok=True)
        with _at_the_hub(hub.get("repo_id") or save_directory):
            address: str | None = _carried(self, card).save_pretrained(save_directory, **hub)
        return address

    def push_to_hub(self, repo_id: str, *, card: str | None = None, **hub: Any) -> str:
        """Upload the model to the hub; the repository is made if need be, and is public unless ``private`` is given.

        Args:
            repo_id: The repository, such as ``name/two-stage``.
            card: Text of the ``README.md``; by default the card of the run that the model comes from.
            **hub: Of ``huggingface_hub.ModelHubMixin.push_to_hub``: private, token, branch, commit_message, create_pr.

        Returns:
            The address of the commit.

        Raises:
            NasosegError: If nobody noted how a part of the model was built, the hub refuses, or huggingface_hub is
                not installed.
        """
        with _at_the_hub(repo_id):
            address: str = _carried(self, card).push_to_hub(repo_id, **hub)
        return address

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], *, trust: bool = False, **hub: Any
    ) -> Self:
        """Load a model that ``save_pretrained`` or ``push_to_hub`` wrote.

        Args:
            pretrained_model_name_or_path: The folder, or the repository on the hub.
            trust: Whether its config may name classes of other packages, whose code then runs.
            **hub: Of ``huggingface_hub.ModelHubMixin.from_pretrained``: revision, token, cache_dir, force_download,
                local_files_only.

        Returns:
            The model in evaluation mode, on the CPU.

        Raises:
            NasosegError: If it cannot be fetched, is damaged or of another class, its config names a class that is not
                trusted, or huggingface_hub is not installed.
        """
        named = os.fspath(pretrained_model_name_or_path)
        with _at_the_hub(named):
            found = hub_class().from_pretrained(named, trust=trust, **hub).task
        if not isinstance(found, cls):
            raise NasosegError(
                f"{named}: holds a {type(found).__name__}, expected a {cls.__name__}: use"
                f" {type(found).__name__}.from_pretrained, or nasoseg.load"
            )
        return found

    def shared_blueprint(self) -> dict[str, Any]:
        """Return the blueprint without what follows from the data, and what only the training needs.

        Raises:
            NasosegError: If an argument is an object that nobody can describe, or the class cannot be imported.
        """
        named = str(self.blueprint["class_path"])
        if "<locals>" in named or named.startswith("__main__."):
            raise NasosegError(f"{named}: cannot be imported by others: move the class into a module")
        left_out = (*FROM_THE_DATA, *OF_TRAINING)
        arguments = {name: value for name, value in self.blueprint["init_args"].items() if name not in left_out}
        for name, value in arguments.items():
            check_described(name, value)
        return {"class_path": named, "init_args": arguments}


@cache
def hub_class() -> Any:
    """Return huggingface_hub's mixin around a model, which is its attribute ``task``.

    It is no base of the tasks: the package stays optional, and a ``config.json`` cannot pass arguments to a task past
    the check of its classes.

    Raises:
        NasosegError: If huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import ModelHubMixin, snapshot_download
    except ImportError as error:
        raise NasosegError("huggingface_hub is not installed: pip install 'nasoseg[hub]'") from error
    from nasoseg.tasks.shared_folder import CARD, CONFIG, WEIGHTS, load_shared, write_shared

    class HubModel(ModelHubMixin):
        def __init__(self) -> None:  # an argument here would be filled in from any config.json
            self.task: Any = None
            self.card: str | None = None

        def _save_pretrained(self, save_directory: Path) -> None:
            write_shared(self.task, save_directory, card=self.card)

        @classmethod
        def _from_pretrained(  # type: ignore[override]  # an argument that it does not know is a mistake
            cls,
            *,
            model_id: str,
            revision: str | None,
            cache_dir: str | Path | None,
            force_download: bool,
            local_files_only: bool,
            token: str | bool | None,
            trust: bool = False,
        ) -> "HubModel":
            folder = Path(model_id)
            if not folder.is_dir():
                # All files of one commit, whatever is pushed meanwhile.
                fetched = snapshot_download(
                    model_id,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                    allow_patterns=[CARD, CONFIG, WEIGHTS],
                )
                folder = Path(fetched)
            made = cls()
            made.task = load_shared(folder, trust=trust)
            return made

    return HubModel


def _carried(task: Shareable, card: str | None) -> Any:
    made = hub_class()()
    made.task, made.card = task, card
    return made


@contextmanager
def _at_the_hub(named: object) -> Iterator[None]:
    """Word what the hub's client raises: many unrelated types, its own and those of what it is built on."""
    try:
        yield
    except (NasosegError, TypeError):  # TypeError: an argument that it does not have
        raise
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise NasosegError(
            f"{named}: Hugging Face's hub could not be used ({type(error).__name__}: {first}): expected a folder that"
            " `save_pretrained` wrote, or a repository such as name/two-stage that you may read or write (`hf auth"
            " login`)"
        ) from error
