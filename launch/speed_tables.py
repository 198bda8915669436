"""The tables of speed and precision, for launch/results.py."""

from tables import percent, read_rows, write_table


def speed() -> str:
  """A stream of the base, early and late in a long film."""
  row = next(row for row in read_rows('story_speed') if row['what'] == 'stream')
  bank = [
    f'{row[name] / 1e6:.1f} MB'
    for name in ('bank_bytes_chunk_3', 'bank_bytes_max_after')
  ]
  chunks = [name for name in row if name.startswith('chunk_ms_')]
  times = [f'{row[name]["median"]:.0f} ms' for name in chunks]
  compiled = [
    str(row[name]) for name in ('compiles_to_chunk_2', 'compiles_from_chunk_3')
  ]
  return write_table(
    ('one chunk of 12 frames, base', 'early', 'late'),
    [
      ('time (chunks 11 to 30, 191 to 210)', *times),
      ('bank', *bank),
      ('compilations (to chunk 2, from chunk 3 on)', *compiled),
    ],
  )


def serving() -> str:
  """Sessions of a server at once."""
  return write_table(
    ('films at once', 'frames per second on screen, each', 'median', 'worst'),
    [
      (
        str(row['batch']),
        f'{row["screen_fps_min"]:.1f}',
        f'{row["latency_ms"]["median"]:.0f} ms',
        f'{row["latency_ms"]["max"]:.0f} ms',
      )
      for row in read_rows('story_serve')
    ],
  )


def h100() -> str:
  """What was measured on one H100."""
  rows = read_rows('h100')
  chunks = [row for row in rows if row['what'] == 'rollout']
  (update,) = (row for row in rows if row['what'] == 'train')
  (story,) = (row for row in rows if row['what'] == 'curriculum')
  timed = next(row for row in chunks if 'chunk_ms' in row)
  gib = update['peak_memory_bytes'] / 2**30
  return write_table(
    ('one H100, random weights', ''),
    [
      (
        'Wan 2.1 1.3B in four steps, 832x480, a chunk of 12 frames',
        f'{timed["chunk_ms"]["median"]:.0f} ms, '
        f'{timed["pixel_fps"]:.1f} frames per second',
      ),
      *(
        (
          f'the same with the decoder {row["codec"]}',
          f'{row["pixel_fps_codec"]:.1f} frames per second',
        )
        for row in chunks
      ),
      (
        'an update of the 1.3B base, 81 frames, everything recomputed',
        f'{update["step_ms"]["median"] / 1e3:.2f} s, '
        f'{percent(update["mfu"])} MFU, {gib:.1f} GiB',
      ),
      *(
        (
          f'phase `{phase}` of the story curriculum, {story["copies"]} copies',
          f'{films} films per second',
        )
        for phase, films in story['films_per_sec'].items()
      ),
    ],
  )


def peers() -> str:
  """Processor time of a chunk beside PyTorch's, as launch/peers.py timed it."""

  def milliseconds(times: dict[str, float] | None) -> str:
    return f'{times["median"]:.0f} ms' if times else '–'

  return write_table(
    (
      'a chunk of Wan 1.3B, one core',
      'cinejax',
      'PyTorch',
      'compiled',
      'ratio',
    ),
    [
      (
        f'{row["layers"]} layers, {row["tokens"]} tokens that read '
        f'{row["context_tokens"]}, {row["dtype"]}; PyTorch reads the prompt '
        f'once a {row["prompts"]}',
        *(
          milliseconds(row[f'{name}_cpu_ms'])
          for name in ('ours', 'torch', 'torch_compiled')
        ),
        f'{row["cpu_ratio"]:.2f}',
      )
      for row in read_rows('peers')
    ],
  )


def precision() -> str:
  """What eight bits change in each layer, by bench --what=precision."""
  (row,) = (row for row in read_rows('precision') if row['what'] == 'precision')
  layers = (0, row['layers'] // 2, row['layers'] - 1)

  def errors(name: str) -> list[str]:
    return [percent(row[name][layer]) for layer in layers]

  return write_table(
    ('random weights', *(f'layer {layer + 1}' for layer in layers)),
    [
      ('error of a layer in fp8', *errors('update_error')),
      ('error of a layer in bfloat16', *errors('bfloat16_update_error')),
      ('hidden states in fp8, of all layers so far', *errors('states_error')),
    ],
  )


def films_in_fp8() -> str:
  """Films after a given past, in eight bits and without, by evaluate."""
  rows = [row for row in read_rows('precision') if row['what'] == 'given']
  return write_table(
    ('films', *(row['precision'] for row in rows)),
    [
      (what, *(percent(row[name]['mean']) for row in rows))
      for name, what in (
        ('recall_given', 'a returning character looks the same'),
        ('recall_given_chance', 'the same by chance'),
        ('unreadable_given', 'frames without a recognizable character'),
      )
    ],
  )
