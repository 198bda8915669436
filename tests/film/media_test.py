import io

import av
import numpy as np
import pytest
from PIL import Image

from cinejax.core.errors import UserError
from cinejax.film import media


def _psnr(a, b):
  error = np.mean((a.astype(np.float64) - b) ** 2)
  return 10 * np.log10(255**2 / error)


def _patches(n_frames=9, height=32, width=48):
  """Saturated 16-pixel patches, whose colours move from frame to frame."""
  rng = np.random.default_rng(0)
  blocks = rng.integers(0, 256, (n_frames, height // 16, width // 16, 3))
  return blocks.repeat(16, 1).repeat(16, 2).astype(np.uint8)


def _counter(n_frames):
  """Frame i is a flat grey of 5 i + 20."""
  grey = (5 * np.arange(n_frames) + 20).astype(np.uint8)
  return np.broadcast_to(grey[:, None, None, None], (n_frames, 32, 32, 3))


def _read(path, **options):
  return np.stack(list(media.read_frames(path, **options)))


def _counted(frames):
  return [round((float(frame.mean()) - 20) / 5) for frame in frames]


def test_colours_and_length_survive(tmp_path):
  video = _patches()
  media.write_video(tmp_path / 'film.mp4', video, fps=16, quality=4)
  back = _read(tmp_path / 'film.mp4')
  assert back.shape == video.shape and back.dtype == np.uint8
  assert _psnr(video, back) > 33
  assert media.probe(tmp_path / 'film.mp4') == (32, 48, 16, 9)
  assert [file.name for file in tmp_path.iterdir()] == ['film.mp4']


def test_file_is_h264_that_browsers_show(tmp_path):
  media.write_video(tmp_path / 'film.mp4', _patches(), fps=23.976)
  with av.open(str(tmp_path / 'film.mp4')) as container:
    stream = container.streams.video[0]
    assert (stream.codec_context.name, stream.pix_fmt) == ('h264', 'yuv420p')
    assert stream.codec_context.colorspace == 1  # BT.709
    assert abs(float(stream.average_rate) - 23.976) < 1e-3


def test_scale_repeats_pixels_and_odd_sizes_repeat_edges(tmp_path):
  video = _patches()[:, :31, :33]
  media.write_video(tmp_path / 'a.mp4', iter(video), 8, quality=4)
  odd = _read(tmp_path / 'a.mp4')
  assert odd.shape[1:3] == (32, 34)
  assert _psnr(video, odd[:, :31, :33]) > 30
  media.write_video(tmp_path / 'b.mp4', video, 8, scale=3, quality=4)
  large = _read(tmp_path / 'b.mp4')
  assert large.shape[1:3] == (94, 100)
  assert _psnr(video, large[:, 1:93:3, 1:99:3]) > 30


def test_no_frames_no_file(tmp_path):
  with pytest.raises(ValueError, match='without frames'):
    media.write_video(tmp_path / 'film.mp4', [], 8)
  assert not list(tmp_path.iterdir())


def test_a_failing_source_leaves_the_old_file(tmp_path):
  path = tmp_path / 'film.mp4'
  media.write_video(path, _counter(3), 8)

  def failing():
    yield _counter(1)[0]
    raise RuntimeError('lost')

  with pytest.raises(RuntimeError, match='lost'):
    media.write_video(path, failing(), 8)
  assert len(_read(path)) == 3
  assert len(list(tmp_path.iterdir())) == 1


@pytest.fixture(scope='module')
def counter(tmp_path_factory):
  path = tmp_path_factory.mktemp('videos') / 'counter.mp4'
  media.write_video(path, _counter(40), fps=24, quality=4)
  return path


def test_start_stop_and_rate(counter):
  def read(**options):
    return _counted(media.read_frames(counter, **options))

  assert read() == list(range(40))
  assert read(start=7, stop=12) == [7, 8, 9, 10, 11]
  assert read(fps=8) == list(range(0, 40, 3))
  assert read(start=4, stop=12, fps=8) == [4, 7, 10]
  assert read(stop=8, fps=16) == [0, 1, 3, 4, 6, 7]
  assert read(stop=3, fps=48) == [0, 0, 1, 1, 2, 2]


def test_crop_then_resize(tmp_path):
  video = _patches(3)
  media.write_video(tmp_path / 'film.mp4', video, 8, quality=4)
  box = (16, 32, 16, 48)
  cropped = _read(tmp_path / 'film.mp4', crop=box)
  assert _psnr(video[:, 16:32, 16:48], cropped) > 30
  resized = _read(tmp_path / 'film.mp4', crop=box, size=(8, 12))
  assert resized.shape == (3, 8, 12, 3)
  with pytest.raises(UserError, match='48x32 pixels, crop'):
    _read(tmp_path / 'film.mp4', crop=(0, 33, 0, 48))


def test_unreadable_files_are_named(tmp_path, counter):
  empty = tmp_path / 'empty.mp4'
  empty.touch()
  noise = tmp_path / 'noise.mp4'
  noise.write_bytes(np.random.default_rng(0).bytes(5000))
  half = tmp_path / 'half.mp4'
  half.write_bytes(counter.read_bytes()[:2000])
  for path in (empty, noise, half, tmp_path / 'missing.mp4'):
    with pytest.raises(UserError, match=path.name):
      _read(path)
  with pytest.raises(UserError, match='none from 40 on'):
    _read(counter, start=40)


def test_truncated_file_without_an_index_is_found(shared_data, tmp_path):
  whole = shared_data / 'videos' / 'tears_of_steel_5s_640x268.webm'
  part = tmp_path / 'part.webm'
  part.write_bytes(whole.read_bytes()[:100_000])
  assert sum(1 for _ in media.read_frames(whole)) == 120
  with pytest.raises(UserError, match='of 120; truncated'):
    _read(part)
  assert len(_read(part, stop=10)) == 10


def test_sound_alone_is_no_video(tmp_path):
  path = tmp_path / 'sound.mp4'
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('aac', rate=8000)
    sound = av.AudioFrame.from_ndarray(
      np.zeros((1, 2048), np.float32), 'fltp', 'mono'
    )
    sound.sample_rate = 8000
    container.mux(stream.encode(sound))
    container.mux(stream.encode(None))
  with pytest.raises(UserError, match='holds no video'):
    media.probe(path)


@pytest.mark.parametrize('image_format', ['jpeg', 'webp'])
def test_frame_bytes(image_format):
  frame = _patches()[0]
  data = media.encode_frame(frame, image_format)
  image = Image.open(io.BytesIO(data))
  assert image.format == image_format.upper()
  assert _psnr(frame, np.asarray(image)) > 24


def test_tags_in_another_encoding(tmp_path):
  path = tmp_path / 'a.mp4'
  media.write_video(path, np.zeros((3, 16, 16, 3), np.uint8), 8)
  data = path.read_bytes()
  path.write_bytes(data.replace(b'isom', 'ésom'.encode('latin-1'), 1))
  assert len(list(media.read_frames(path))) == 3
