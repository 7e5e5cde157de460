#!/usr/bin/env bash
# Mutation testing: change the code in small ways, one at a time, and see whether a test fails.
#
#   pip install mutmut && tools/mutation.sh losses        (or splits, metrics, volumes)
#   tools/mutation.sh volumes '*[37]'                     only mutants whose name fits: these, a fifth of them
#
# Works on a copy in .mutation/, made anew: mutmut takes what an earlier run left for the code. `mutmut results` there
# lists what survived, `mutmut show NAME` shows one. Lines of messages are left out: a changed word is no wrong number.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  losses) code=(nasoseg/losses.py nasoseg/pixel_sums.py)
          tests=(tests/test_losses.py tests/test_loss_arguments.py tests/test_pixel_sums.py) ;;
  splits) code=(nasoseg/data/splits.py nasoseg/data/split_file.py nasoseg/data/stratification.py)
          tests=(tests/data/test_splits.py) ;;
  metrics) code=('nasoseg/metrics/*') tests=(tests/metrics) ;;
  volumes) code=('nasoseg/volumes/*')
           # Not those that run other programs on large files: too slow for thousands of mutants.
           mapfile -t tests < <(ls tests/volumes/test_*.py | grep -v -e witnesses -e orthanc -e real) ;;
  *) echo "usage: tools/mutation.sh losses|splits|metrics|volumes [PATTERN ...]" >&2; exit 2 ;;
esac

copy=.mutation/$1
shift
rm -rf "$copy"
mkdir -p "$copy"
cp -r nasoseg tests pyproject.toml README.md "$copy/"
# Tests look for large data in ../shared, beside the project; mutmut runs them in $copy/mutants.
if [ -d ../shared ]; then ln -sfn "$(realpath ../shared)" "$copy/shared"; fi
cd "$copy"
{
  printf '[mutmut]\nsource_paths=nasoseg\nmutate_only_covered_lines=true\ntrack_dependencies=false\n'
  printf 'use_git_change_detection=false\nalso_copy=\n    README.md\n'
  printf 'only_mutate=\n'; printf '    %s\n' "${code[@]}"
  printf 'pytest_add_cli_args_test_selection=\n'; printf '    %s\n' "${tests[@]}"
  # Tests that start processes take seconds each; what they alone would notice counts as survived.
  printf 'pytest_add_cli_args=\n'; printf '    %s\n' -x -q --durations=0 -k 'not processes'
  printf 'do_not_mutate_patterns=\n'; printf '    %s\n' '^\s*f?"' 'raise \w+\('
} > setup.cfg
export OMP_NUM_THREADS=1
mutmut run --max-children "${JOBS:-1}" "$@"
mutmut results
