"""Reads benchmarks/ and writes tables, for launch/results.py."""

import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]


def percent(x: float) -> str:
  return f'{100 * x:.3g} %'


def read_json(name: str) -> Any:
  return json.loads((ROOT / 'benchmarks' / f'{name}.json').read_text())


def read_rows(name: str) -> list[dict[str, Any]]:
  text = (ROOT / 'benchmarks' / f'{name}.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


def write_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  lines = [head, ['---'] * len(head), *rows]
  return ''.join(f'| {" | ".join(line)} |\n' for line in lines)
