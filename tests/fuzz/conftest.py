from collections.abc import Callable

import pytest
from fuzzed_formats import make_target
from material import real_material
from promise import Target


@pytest.fixture(scope="session")
def target(sample_root, small_store, tmp_path_factory) -> Callable[[str], Target]:
    material = real_material(sample_root, small_store)
    root = tmp_path_factory.mktemp("seeds")
    made: dict[str, Target] = {}

    def make(name: str) -> Target:
        if name not in made:
            made[name] = make_target(name, root / name, material)
        return made[name]

    return make
