// The line under the film: its shots and pictures, the head at the frame that
// is on the canvas, and the pointer, which shows a place or goes to it.

import { clock, make, thumbnail } from '/view.js';

const PICTURES = 24; // along the line, at most

export class Timeline {
  // nodes: {line, marks, pictures, head, peek, time}; on: {seek, key}
  constructor(nodes, model, on) {
    Object.assign(this, { nodes, model, on });
    this.frames = 0; // of the film
    this.listen(nodes.line);
  }

  // Moves the head to a frame of a film that has `frames` of them.
  place(frame, frames) {
    const { nodes, model } = this;
    const last = Math.max(0, frames - 1);
    nodes.head.style.left = `${last ? (100 * frame) / last : 100}%`;
    const text = `${clock(frame / model.fps)} / ${clock(frames / model.fps)}`;
    if (nodes.time.textContent !== text) {
      nodes.time.textContent = text;
      nodes.line.setAttribute('aria-valuetext', text);
    }
    nodes.line.setAttribute('aria-valuenow', frame);
    if (frames === this.placed) return;
    this.placed = frames;
    nodes.line.setAttribute('aria-valuemax', last);
    nodes.line.classList.toggle('none', !frames);
  }

  // Draws the shots and pictures of a session whose chunks are in `track`.
  draw(session, track) {
    const { nodes, model } = this;
    this.session = session;
    this.frames = track.frames;
    const total = Math.max(1, track.chunks);
    const shots = session.segments.filter((one, n) => one.cut || n === 0);
    nodes.marks.replaceChildren(...shots.map((one, n) => {
      const stop = shots[n + 1]?.chunk ?? total;
      const mark = make('i', { title: `Shot ${one.shot + 1}: ${one.prompt}` });
      mark.style.left = `${(100 * one.chunk) / total}%`;
      mark.style.width = `${(100 * Math.max(0, stop - one.chunk)) / total}%`;
      return mark;
    }));
    const wide = nodes.pictures.clientWidth || 600;
    const high = nodes.pictures.clientHeight || 44;
    const count = Math.min(PICTURES,
      Math.max(1, Math.round((wide * model.height) / (high * model.width))));
    const latents = track.chunks * model.frames_per_chunk;
    const pick = (n) => Math.min(latents - 1, Math.floor(((n + 0.5) * latents) / count));
    // All pictures change as the film grows, so they are drawn again only when
    // it has grown by a tenth.
    const key = `${session.id} ${session.revision} ${count}`;
    if (!latents) nodes.pictures.replaceChildren();
    if (!latents || (key === this.drawn && latents <= 1.1 * this.drawnLatents)) return;
    this.drawn = key;
    this.drawnLatents = latents;
    nodes.pictures.replaceChildren(...Array.from({ length: count }, (_, n) =>
      make('img', { alt: '', src: thumbnail(session, pick(n)), draggable: false })));
  }

  listen(line) {
    const frameAt = ({ clientX }) => {
      const box = line.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (clientX - box.left) / box.width));
      return Math.round(share * (this.frames - 1));
    };
    line.addEventListener('pointerdown', (event) => {
      if (!this.frames) return;
      line.setPointerCapture(event.pointerId);
      this.dragging = true;
      this.on.seek(frameAt(event));
    });
    line.addEventListener('pointermove', (event) => {
      if (!this.frames) return;
      this.peek(frameAt(event), event.clientX - line.getBoundingClientRect().left);
      if (this.dragging) this.on.seek(frameAt(event));
    });
    for (const end of ['pointerup', 'pointercancel']) {
      line.addEventListener(end, () => { this.dragging = false; });
    }
    line.addEventListener('pointerleave', () => { this.nodes.peek.hidden = true; });
    line.addEventListener('keydown', (event) => {
      if (this.on.key(event)) event.preventDefault();
    });
  }

  // Shows the picture of the place to which the pointer points.
  peek(frame, left) {
    const { peek, line } = this.nodes;
    const latent = Math.ceil(frame / this.model.stride);
    const width = line.clientWidth;
    peek.hidden = false;
    peek.style.left = `${Math.min(width - 70, Math.max(70, left))}px`;
    peek.firstElementChild.src = thumbnail(this.session, latent);
    peek.lastElementChild.textContent = clock(frame / this.model.fps);
  }
}
