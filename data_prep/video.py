"""Real clips as a data set: shots, captions, latents.

  python -m data_prep.video --clips=clips/ --out=runs/real/films \\
    --config=configs/story.py --config.codec.name=taef2 \\
    --config.codec.temporal_stride=1 --config.codec.channels=32 \\
    --weights=weights/taef2 --fps=8 --height=64 --width=160

Every clip becomes one part of the data set, with at most config.data.chunks
chunks a film. A clip that cannot be used is named in OUT/report.json and
skipped; a rerun keeps the clips that are done and tries the others again.
Captions come from `--captions`, or a captions.jsonl beside the clips.
"""

import dataclasses
import json
import pathlib
import re

from absl import flags
from rich.console import Console
from rich.progress import Progress

from cinejax import command
from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path
from cinejax.interop.weights import load_codec
from data_prep import captions, films
from data_prep.clips import Entry, Preparation, part_name
from data_prep.encode import fingerprint, make_encode

_SUFFIXES = frozenset(
  '.avi .gif .m4v .mkv .mov .mp4 .mpeg .mpg .ts .webm .wmv'.split()
)


def define_flags() -> None:
  """Not at import, so that one process can import several commands."""
  text, whole = flags.DEFINE_string, flags.DEFINE_integer
  text('clips', None, 'A folder of video files, or one file.', required=True)
  text('weights', None, 'Of the codec.', required=True)
  text('out', None, 'Folder to write to.', required=True)
  flags.DEFINE_float('fps', None, 'Default: config.film.fps.')
  whole('height', None, 'Pixels; default: config.film.height.')
  whole('width', None, 'Pixels; default: config.film.width.')
  text('crop', 'auto', 'Rows to keep, top:bottom; auto: all but black bars.')
  whole('shot_chunks', 0, 'Most chunks kept of a shot; 0: all.')
  text('captions', '', 'A JSONL of {"file": …, "shot": 0, "caption": …}.')
  text('caption_command', '', 'Gets the path of a PNG, prints a caption.')


def run(task: Preparation, clips: pathlib.Path) -> list[Entry]:
  """Prepares every clip and writes the report; the entry of each clip."""
  found = find_clips(clips)
  path = task.out / 'report.json'
  before = json.loads(path.read_text())['clips'] if path.exists() else []
  report = {entry['file']: entry for entry in before}
  with Progress(console=Console(stderr=True)) as progress:
    for name, clip in progress.track(found.items(), description='clips'):
      entry = _attempt(task, clip, name, report.get(name, {}))
      report[name] = {'file': name, **entry}
      if entry['status'] == 'skipped':
        progress.console.print(f'skipped: {entry["reason"]}', style='yellow')
      _write_report(path, list(report.values()))
  return [report[name] for name in found]


def find_clips(clips: pathlib.Path) -> dict[str, pathlib.Path]:
  """Name -> file, in order of name; UserError if there are none."""
  if clips.is_file():
    return {clips.name: clips}
  found = {
    str(path.relative_to(clips)): path
    for path in sorted(clips.rglob('*'))
    if path.is_file() and path.suffix.lower() in _SUFFIXES
  }
  if not found:
    raise UserError(f'--clips={clips} is no video file and no folder of them')
  return found


def main() -> None:
  args, cfg = flags.FLAGS, with_size(command.config(), flags.FLAGS)
  clips, out = pathlib.Path(args.clips), pathlib.Path(args.out)
  find_clips(clips)
  beside = (clips if clips.is_dir() else clips.parent) / 'captions.jsonl'
  listed = pathlib.Path(args.captions) if args.captions else beside
  known = captions.load(listed) if args.captions or beside.exists() else {}
  encode = make_encode(*load_codec(cfg.codec, args.weights))
  task = Preparation(
    cfg,
    encode,
    out,
    rows=parse_rows(args.crop),
    shot_chunks=args.shot_chunks,
    captions=known,
    caption_command=args.caption_command,
  )
  films.claim(out, _settings(cfg, fingerprint(args.weights, cfg.codec.name)))
  entries = run(task, clips)
  done = [entry for entry in entries if entry['status'] != 'skipped']
  made = sum(entry.get('films', 0) for entry in done)
  print(
    f'{made} films of {len(done)} clips in {out}, '
    f'{len(entries) - len(done)} clips skipped; see {out / "report.json"}'
  )


def with_size(cfg: Config, args: flags.FlagValues) -> Config:
  """`cfg` with the frame rate and size of the flags, where given."""
  given = {
    name: value
    for name in ('fps', 'height', 'width')
    if (value := getattr(args, name)) is not None
  }
  stride = cfg.codec.spatial_stride
  for name in ('height', 'width'):
    if given.get(name, stride) % stride or given.get(name, stride) < stride:
      raise UserError(f'--{name} must be a multiple of {stride}')
  return dataclasses.replace(cfg, film=dataclasses.replace(cfg.film, **given))


def parse_rows(crop: str) -> tuple[int, int] | None:
  """--crop as (top, bottom); None for auto."""
  if crop == 'auto':
    return None
  match = re.fullmatch(r'(\d+):(\d+)', crop)
  if not match or int(match[1]) >= int(match[2]):
    raise UserError(f'--crop={crop} must be auto or top:bottom, as in 58:420')
  return int(match[1]), int(match[2])


def _attempt(
  task: Preparation, clip: pathlib.Path, name: str, earlier: Entry
) -> Entry:
  if films.is_written(task.out, part_name(name)):
    return earlier | {'status': 'kept'}
  try:
    return {'status': 'written', **task.prepare(clip, name)}
  except UserError as error:
    return {'status': 'skipped', 'reason': str(error)}


def _write_report(path: pathlib.Path, entries: list[Entry]) -> None:
  with atomic_path(path) as partial:
    partial.write_text(
      json.dumps({'clips': entries}, indent=2, ensure_ascii=False) + '\n',
      encoding='utf-8',
    )


def _settings(cfg: Config, weights: str) -> dict[str, object]:
  return {
    'source': 'video',
    'fps': cfg.film.fps,
    'height': cfg.film.height,
    'width': cfg.film.width,
    'cut_prefix': cfg.film.cut_prefix,
    'frames_per_chunk': cfg.film.frames_per_chunk,
    'temporal_stride': cfg.codec.temporal_stride,
    'codec': cfg.codec.name,
    'codec_weights': weights,
  }


if __name__ == '__main__':
  define_flags()
  command.run(main)
