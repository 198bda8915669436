#!/usr/bin/env bash
# Runs the tests:
#
#   bash launch/test.sh          the fast ones
#   bash launch/test.sh --all    also those that take minutes
#
# Other flags and paths go to pytest. Compiled programs are cached in .jax_cache
# (tests/conftest.py), so that a second run is faster. The exit code is that of
# pytest.
set -euo pipefail
# shellcheck source=launch/setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

# Each file is run by one worker, so that what its tests share is made once.
exec "$PYTHON" -m pytest -n 2 --dist loadfile "$@"
