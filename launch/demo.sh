#!/usr/bin/env bash
# Directs the bundled screenplay with the bundled weights on this machine:
#
#   bash launch/demo.sh [FLAG...]
#
# makes runs/demo/film.mp4, contact_sheet.png and report.json, with the seed of
# README.md's picture. Flags are passed to `python -m cinejax.direct` after
# those below and take precedence, such as --seed=1 or --screenplay=FILE;
# --compare=camr,window --out=runs/compare shows the film under two memories, as
# README.md does. Paths are relative to the repository's root.
set -euo pipefail
# shellcheck source=launch/setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

exec "$PYTHON" -m cinejax.direct --config=configs/story.py:four \
  --weights=weights/story --screenplay=screenplays/demo.json --seed=5 \
  --out=runs/demo "$@"
