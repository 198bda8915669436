"""Updates for each phase of a curriculum, from the rates of a trial of it.

  python launch/phase_rates.py METRICS --secs=240 --trial=30 --shares=.45,.45,.1

METRICS is WORKDIR/metrics/base.jsonl of a run whose phases had `trial` updates
each. Prints a tuple for --config.stage.base.phase_steps that takes about `secs`
seconds, divided by `shares`. The first row of a phase, which includes its
compilation, does not count.
"""

import argparse
import json


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('metrics')
  parser.add_argument('--secs', type=float, required=True)
  parser.add_argument('--trial', type=int, required=True)
  parser.add_argument('--shares', required=True)
  args = parser.parse_args()
  with open(args.metrics) as file:
    rows = [json.loads(line) for line in file]
  shares = [float(share) for share in args.shares.split(',')]
  print(steps_of_phases(rows, args.secs, args.trial, shares))


def steps_of_phases(
  rows: list[dict[str, float]],
  secs: float,
  trial: int,
  shares: list[float],
) -> tuple[int, ...]:
  """The updates of each phase, at least one."""
  steps = []
  for phase, share in enumerate(shares):
    rates = [
      row['steps_per_sec']
      for row in rows
      if phase * trial < row['step'] <= (phase + 1) * trial
      and 'steps_per_sec' in row
    ]
    rate = max(rates[1:] or rates)
    steps.append(max(1, int(share * secs * rate)))
  return tuple(steps)


if __name__ == '__main__':
  main()
