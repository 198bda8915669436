"""Programs in place of those that scripts for pods call; they take notes."""

# Answers a describe from a file of states, one a call; runs what it is asked
# to run on hosts here, in a folder that stands for a host's home: its slice's,
# or one for all. What the first line of `faults` names fails once.
FAKE_GCLOUD = r"""#!/usr/bin/env bash
line="$*"  # one write a call: hosts run at once
printf '%s\n' "${line//$'\n'/ }" >>"$NOTES/calls"
fault="$(head -n 1 "$NOTES/faults" 2>/dev/null)"
if [ -n "$fault" ] && [[ "$line" == *"$fault"* ]]; then
  sed -i 1d "$NOTES/faults"
  echo 'ERROR: UNAVAILABLE' >&2
  exit 1
fi
home="$NOTES/home"
for word in "$5" "${6%%:*}"; do
  if [ -d "$NOTES/$word" ]; then home="$NOTES/$word"; fi
done
case "$*" in
  *'queued-resources describe'*)
    now="$(head -n 1 "$NOTES/states")"
    sed -i 1d "$NOTES/states"
    if [ "$now" = NOT_FOUND ]; then
      echo "ERROR: NOT_FOUND: Resource '$5' was not found" >&2
      exit 1
    fi
    echo 'WARNING: FAILED to tell its version' >&2
    echo "$now"
    ;;
  *'tpu-vm scp'*) cp "$5" "$home/cinejax.tar.gz" ;;
  *'tpu-vm ssh'*)
    for word in "$@"; do
      case "$word" in
        --command=*)
          cd "$home" && bash -c "${word#--command=}"
          exit
          ;;
      esac
    done
    ;;
esac
"""

FAKE_PYTHON = r"""#!/usr/bin/env bash
if [ "$1" = -m ] && [ "$2" = venv ]; then
  mkdir -p "$3/bin"
  cp "$0" "$3/bin/python"
  printf '#!/bin/sh\n' >"$3/bin/pip"
  chmod +x "$3/bin/pip"
else
  echo "trained $*"
fi
"""

# If ENDS is set, the time limit is near: the job gets a signal and passes it
# on, and the training ends with that exit code.
FAKE_SRUN = r"""#!/usr/bin/env bash
echo "srun $*" >>"$NOTES/calls"
echo "${JAX_LOCAL_DEVICE_IDS:-}" >"$NOTES/devices"
if [ -n "${ENDS:-}" ]; then
  trap 'exit "$ENDS"' TERM
  kill -USR1 "$PPID"
  for _ in {1..100}; do sleep 0.1; done
  exit 9
fi
"""


def calls(folder):
  """The calls that the programs noted in `folder`."""
  return (folder / 'calls').read_text().splitlines()
