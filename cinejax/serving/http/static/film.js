// Plays the film on a canvas: every frame at its time; late frames are dropped.

const MAX_WAITING = 96; // decoded frames

export class Film {
  constructor(canvas, { width, height, fps }) {
    this.canvas = canvas;
    canvas.width = width;
    canvas.height = height;
    this.context = canvas.getContext('2d');
    this.live = true; // the canvas shows the frames that arrive
    this.fps = fps;
    this.clear();
    const draw = (now) => {
      this.draw(now);
      requestAnimationFrame(draw);
    };
    requestAnimationFrame(draw);
  }

  clear(revision = -1) {
    this.waiting = []; // {due, frame, image}
    this.chunks = []; // {revision, frame, frames, due}
    this.revision = revision;
    this.frame = -1; // on screen
    this.shown = []; // times at which frames went on screen
    if (this.live) {
      this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    }
  }

  // Announces a chunk that goes on screen in `starts_in_ms`.
  expect({ revision, frame, frames, starts_in_ms: wait }) {
    if (revision !== this.revision) {
      this.clear(revision);
    }
    this.chunks.push({ frame, frames, due: performance.now() + wait });
    this.chunks = this.chunks.slice(-4);
  }

  async add(revision, frame, blob) {
    const chunk = this.chunks.find(
      (one) => frame >= one.frame && frame < one.frame + one.frames,
    );
    if (revision !== this.revision || !chunk) return;
    const image = await createImageBitmap(blob);
    if (revision !== this.revision) return;
    const due = chunk.due + ((frame - chunk.frame) * 1000) / this.fps;
    this.waiting.push({ due, frame, image });
    this.waiting.sort((a, b) => a.frame - b.frame);
    while (this.waiting.length > MAX_WAITING) this.waiting.shift().image.close();
  }

  draw(now) {
    let next;
    while (this.waiting.length && this.waiting[0].due <= now) {
      next?.image.close();
      next = this.waiting.shift();
    }
    if (!next) return;
    this.frame = next.frame;
    if (this.live) {
      this.context.drawImage(
        next.image, 0, 0, this.canvas.width, this.canvas.height);
      this.canvas.dataset.frame = next.frame;
    }
    next.image.close();
    this.shown.push(now);
    this.shown = this.shown.filter((time) => now - time < 3000);
  }

  // Frames per second that went on screen in the last 3 s; null if too few.
  rate() {
    const times = this.shown.filter((t) => performance.now() - t < 3000);
    if (times.length < 3) return null;
    const span = times[times.length - 1] - times[0];
    return (1000 * (times.length - 1)) / span;
  }
}
