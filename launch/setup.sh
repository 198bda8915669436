# shellcheck shell=bash
# Sourced by .ci/run and by the scripts of launch/ that need only Python >=
# 3.11. Changes to the repository's root and creates .venv there once, with
# cinejax and the tools of its tests. Afterwards $PYTHON is the Python of .venv.
#
# .venv/cinejax-stamp records what .venv was made from, so that a second run
# reuses it, and an unfinished or outdated one is made again. A .venv without a
# stamp was not made by this script: it is never deleted, and packages are
# installed into it only if it lacks cinejax or the tools of its tests.

fail() {
  echo "error: $*" >&2
  exit 2
}

find_python() {
  local name
  for name in python3.13 python3.12 python3.11 python3 python; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
      >/dev/null 2>&1; then
      echo "$name"
      return
    fi
  done
  fail 'no Python >= 3.11 was found (looked for python3.13, python3.12,' \
    'python3.11 and python3); install one, for instance from python.org'
}

make_environment() {
  local base wanted stamp=.venv/cinejax-stamp
  wanted="$PWD $(cat setup.cfg pyproject.toml | cksum)"
  if [ -x "$PYTHON" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    return
  fi
  if [ ! -e .venv ] || [ -e "$stamp" ]; then
    base="$(find_python)" || exit
    "$base" -c 'import ensurepip, venv' 2>/dev/null ||
      fail "$base has no venv; install it (Debian and Ubuntu:" \
        'apt install python3-venv) and run this again'
    rm -rf .venv
    mkdir .venv
    echo unfinished >"$stamp"
    echo "making .venv with $("$base" --version), once; this takes minutes" >&2
    "$base" -m venv .venv || fail "$base could not make .venv; see above"
  fi
  if [ ! -e "$stamp" ] && "$PYTHON" -c 'import importlib.metadata as made, xdist
made.version("cinejax")' 2>/dev/null; then
    return
  fi
  "$PYTHON" -m pip install --quiet --disable-pip-version-check \
    --editable '.[test]' ||
    fail 'pip could not install cinejax into .venv; see above, and run' \
      'this again when that is fixed'
  if [ -e "$stamp" ]; then
    echo "$wanted" >"$stamp"
  fi
}

CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit
PYTHON="$PWD/.venv/bin/python"
make_environment
