"""Makes a data set of real clips: their shots, captions and latents.

  python -m data_prep.video --clips=clips/ --out=runs/real/films \\
    --config=configs/story.py --config.codec.name=taef2 \\
    --config.codec.temporal_stride=1 --config.codec.channels=32 \\
    --weights=weights/taef2 --fps=8 --height=64 --width=160

Every clip becomes one part of the data set, with films of at most
config.data.chunks chunks. Clips that cannot be used are skipped and listed in
OUT/report.json with the reason; a rerun keeps the clips that are done and tries
the others again. Captions come from `--captions`, or from a captions.jsonl
beside the clips.

Several processes can share the work. With `--workers=N --worker=I` a process
prepares every N-th clip; start one for each device. `--beam` prepares the clips
in a Beam pipeline (pip install cinejax[beam]), whose runner `--beam_option`
names. All of them must be able to write to OUT; the entry of each clip is kept
in OUT/clips, from which the report is collected.
"""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

from absl import flags
from rich.console import Console
from rich.progress import Progress

from cinejax import command
from cinejax.config import Config, check
from cinejax.core.errors import UserError
from cinejax.core.files import read_json, write_json
from cinejax.interop.weights import codec_files
from data_prep import captions, films, workers
from data_prep.clips import Entry, Preparation, part_name
from data_prep.encode import encode_where_it_runs, fingerprint, load_encode

_SUFFIXES = frozenset(
  '.3gp .avi .flv .gif .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .ts '
  '.webm .wmv'.split()
)


def define_flags() -> None:
  """Defines flags; not at import, so that commands can import each other."""
  text, whole = flags.DEFINE_string, flags.DEFINE_integer
  text('clips', None, 'A folder of video files, or one file.', required=True)
  text('weights', None, 'Weights of the codec.', required=True)
  text('out', None, 'Folder to write to.', required=True)
  flags.DEFINE_float(
    'fps', None, 'Default: config.film.fps.', upper_bound=1000.0
  )
  whole('height', None, 'Pixels; default: config.film.height.')
  whole('width', None, 'Pixels; default: config.film.width.')
  text('crop', 'auto', 'Rows to keep, top:bottom; auto: without black bars.')
  whole('shot_chunks', 0, 'Most chunks of a shot; 0: all.', lower_bound=0)
  text('captions', '', 'JSONL file of {"file": …, "shot": 0, "caption": …}.')
  text('caption_command', '', 'Is given a PNG, prints a caption.')
  workers.define_flags()
  flags.DEFINE_bool('beam', False, 'Prepare the clips with Apache Beam.')
  flags.DEFINE_multi_string('beam_option', [], 'Such as --runner=FlinkRunner.')


def run(task: Preparation, found: Mapping[str, pathlib.Path]) -> list[Entry]:
  """Prepares the named clips one after another; returns their entries."""
  entries = []
  with Progress(console=Console(stderr=True)) as progress:
    for name, clip in progress.track(found.items(), description='clips'):
      entry = attempt(task, name, clip)
      if entry['status'] == 'skipped':
        progress.console.print(f'skipped: {entry["reason"]}', style='yellow')
      entries.append(entry)
  return entries


def run_beam(
  task: Preparation,
  found: Mapping[str, pathlib.Path],
  options: Sequence[str] = (),
) -> None:
  """Prepares the clips in a Beam pipeline, whose workers unpickle `task`."""
  import apache_beam as beam  # an optional dependency
  from apache_beam.options.pipeline_options import PipelineOptions

  with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
    clips = pipeline | beam.Create(list(found.items())) | beam.Reshuffle()
    _ = clips | beam.MapTuple(functools.partial(attempt, task))


def attempt(task: Preparation, name: str, clip: pathlib.Path) -> Entry:
  """Prepares one clip, unless it is done, and writes its entry to OUT/clips."""
  path = _entry_path(task.out, name)
  if films.is_written(task.out, part_name(name)):
    return {'file': name} | read_json(path) | {'status': 'kept'}
  try:
    entry = {'status': 'written', **task.prepare(clip, name)}
  except UserError as error:
    entry = {'status': 'skipped', 'reason': str(error)}
  entry = {'file': name, **entry}
  write_json(path, entry)
  return entry


def report(out: pathlib.Path, found: Iterable[str]) -> list[Entry]:
  """Writes OUT/report.json with the entries of the clips `found`."""
  entries = [read_json(_entry_path(out, name)) for name in found]
  entries = [entry for entry in entries if entry]  # without those not tried
  write_json(out / 'report.json', {'clips': entries})
  return entries


def find_clips(clips: pathlib.Path) -> dict[str, pathlib.Path]:
  """The files of clips by name, in order of name.

  Raises UserError if there are none.
  """
  if clips.is_file():
    return {clips.name: clips}
  found = {
    str(path.relative_to(clips)): path
    for path in sorted(clips.rglob('*'))
    if path.is_file() and path.suffix.lower() in _SUFFIXES
  }
  if not found:
    raise UserError(
      f'--clips={clips} is neither a video file nor a folder with video files'
    )
  return found


def main() -> None:
  args, cfg = flags.FLAGS, with_size(command.config(), flags.FLAGS)
  clips, out = pathlib.Path(args.clips), pathlib.Path(args.out)
  own = workers.own_slice()
  found = find_clips(clips)
  beside = (clips if clips.is_dir() else clips.parent) / 'captions.jsonl'
  listed = pathlib.Path(args.captions) if args.captions else beside
  known = captions.load(listed) if args.captions or beside.exists() else {}
  # Errors about missing files come before anything is written.
  if args.beam:
    films.check_beam()
  load_encode(cfg.codec, args.weights)
  task = Preparation(
    cfg,
    functools.partial(encode_where_it_runs, cfg.codec, args.weights),
    out,
    rows=parse_rows(args.crop),
    shot_chunks=args.shot_chunks,
    captions=known,
    caption_command=captions.parse_command(args.caption_command),
  )
  films.record_settings(out, _settings(cfg, args.weights))
  if args.beam:
    run_beam(task, found, args.beam_option)
  else:
    names = list(found)[own]
    run(task, {name: found[name] for name in names})
  entries = report(out, found)
  done = [entry for entry in entries if entry['status'] == 'written']
  count = sum(entry['films'] for entry in done)
  print(
    f'{count} films of {len(done)} clips in {out}, {len(entries) - len(done)} '
    f'clips skipped, {len(found) - len(entries)} not tried yet; see '
    f'{out / "report.json"}'
  )


def with_size(cfg: Config, args: flags.FlagValues) -> Config:
  """`cfg` with the frame rate and size that flags give.

  Raises UserError if the result is not a valid config.
  """
  given = {
    name: value
    for name in ('fps', 'height', 'width')
    if (value := getattr(args, name)) is not None
  }
  sized = dataclasses.replace(cfg, film=dataclasses.replace(cfg.film, **given))
  check(sized)
  return sized


def parse_rows(crop: str) -> tuple[int, int] | None:
  """The rows (top, bottom) of --crop; None for auto.

  Raises UserError if it is neither.
  """
  if crop == 'auto':
    return None
  match = re.fullmatch(r'(\d+):(\d+)', crop)
  if not match or int(match[1]) >= int(match[2]):
    raise UserError(f'--crop={crop} must be auto or top:bottom, as in 58:420')
  return int(match[1]), int(match[2])


def _entry_path(out: pathlib.Path, name: str) -> pathlib.Path:
  return out / 'clips' / f'{part_name(name)}.json'


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
    'codec_weights': fingerprint(*codec_files(cfg.codec.name, weights)),
  }


if __name__ == '__main__':
  define_flags()
  command.run(main)
