// Sizes of pictures. A small film is enlarged by whole numbers of the screen's
// pixels, so that each of its pixels is a square of the same size. Larger films
// fill what there is.

const SMALL = 256; // pixels high

// Keeps `picture` as large as `room`, the element around it, is wide and as
// `share` of the window is high.
export function fit(picture, room, { width, height }, share = 0.64) {
  const resize = () => {
    const most = Math.min(
      room.clientWidth / width, (share * window.innerHeight) / height);
    const pixels = window.devicePixelRatio || 1;
    const whole = Math.floor(most * pixels) / pixels;
    const scale = height < SMALL && whole > 0 ? whole : most;
    picture.style.width = `${scale * width}px`;
    picture.style.height = `${scale * height}px`;
  };
  new ResizeObserver(resize).observe(room);
  window.addEventListener('resize', resize);
  resize();
}
