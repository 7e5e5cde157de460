"""Kill a command again and again, at moments that a seed picks; go on as a user would; compare the end."""

import random
from pathlib import Path
from typing import Any, Protocol

from victims import Victim
from whole import check_whole


class Commands(Protocol):
    """Where commands run: in processes of their own, however these are made."""

    def start(self, *arguments: object, log: Path) -> Any: ...

    def run(self, *arguments: object, log: Path) -> tuple[int, str]: ...

    def kill_all(self) -> None: ...


def kill_often(
    commands: Commands, victim: Victim, folder: Path, *, undisturbed: Any, seconds: float, kills: int, seed: int = 0
) -> int:
    """Kill the command ``kills`` times and let it end; return how often it reached its end.

    After each kill every file under a final name must be whole, and the command is given again. Where it has ended,
    what it leaves must equal what an undisturbed run left, and it begins anew in another folder. The moments lie evenly
    over the time that an undisturbed run took, a random one in each part of it, in random order.
    """
    draws = random.Random(seed)
    moments = [seconds * (part + draws.random()) / kills for part in range(kills)]
    draws.shuffle(moments)
    ends = done = 0
    for moment in moments + [None] + [draws.uniform(0, seconds) for _ in range(3 * kills)] + [None]:
        if done == kills and moment is not None:
            continue
        home = folder / f"history_{ends}"
        home.mkdir(parents=True, exist_ok=True)
        log = folder / f"history_{ends}.log"
        running = commands.start(*victim.arguments(home), log=log)
        code = running.wait(moment if moment is not None else 300)
        if code is None:
            commands.kill_all()
            code = running.wait(30)
            assert code is not None, "it outlived signal 9"
        assert code in ((0, -9) if moment is not None else (0,)), f"code {code}\n{log.read_text()}"
        done += code != 0
        check_whole(home)
        if code == 0:
            assert victim.results(home) == undisturbed, f"history {ends} differs\n{log.read_text()}"
            ends += 1
            if done == kills:
                break
    assert done == kills, f"it ended before its moment in most of {4 * kills} starts"
    assert list(folder.glob("history_*.log"))
    return ends
