"""Small clips, written for the tests that read them."""

import fractions

import av
import numpy as np

MS = fractions.Fraction(1, 1000)
OPTIONS = {'libx264': {'qp': '0'}, 'libvpx': {'auto-alt-ref': '0'}}


def grey(number, height=32, width=48):
  """A frame of a brightness of its own."""
  return np.full((height, width, 3), 20 + 5 * number, np.uint8)


def write(path, frames, times=None, rate=24, codec='libx264', **is_):
  """A file with frames at `times`, in ms; `is_` sets the stream."""
  pixels = is_.pop('pixels', 'yuv420p')
  options = OPTIONS.get(codec, {})
  with av.open(str(path), 'w') as container:
    stream = container.add_stream(codec, rate=rate, options=options)
    stream.height, stream.width = frames[0].shape[:2]
    stream.pix_fmt = pixels
    for name, value in is_.items():
      if name == 'rotation':
        stream.set_display_rotation(value)
      else:
        setattr(stream.codec_context, name, value)
    if times:
      stream.time_base = stream.codec_context.time_base = MS
    for index, image_YXC in enumerate(frames):
      has_alpha = image_YXC.shape[2] == 4
      frame = av.VideoFrame.from_ndarray(
        image_YXC, 'rgba' if has_alpha else 'rgb24'
      ).reformat(
        format=pixels,
        dst_colorspace=is_.get('colorspace'),
        dst_color_range=is_.get('color_range'),
      )
      frame.pts = times[index] if times else index
      frame.time_base = MS if times else fractions.Fraction(1, rate)
      container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  return path


def numbers(frames):
  """The numbers of the `grey` frames."""
  return [round((float(frame.mean()) - 20) / 5) for frame in frames]
