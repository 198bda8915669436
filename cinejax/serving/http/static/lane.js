// The memory lane: what the memory read for the chunk on screen, as a picture
// and in words. Pointing at a frame says how much of it was read, and what was
// read when that frame itself was made.

import { ask } from '/client.js';
import { clock, make, secsOf, thumbnail } from '/view.js';

const MAX_IMAGES = 16;

// One sentence about a past frame and the chunk on screen.
function words(frame, event, session, model) {
  const F = model.frames_per_chunk;
  const place = [...session.segments].reverse().find((one) => one.chunk * F <= frame);
  const where = `The frame at ${clock(secsOf(frame, model))}` +
    (place ? ` (shot ${place.shot + 1}, “${place.prompt}”)` : '');
  const [from, to] = event.window;
  const routed = event.routed_frames.find(([one]) => one === frame);
  if (frame >= event.chunk * F) return `${where} is on screen now.`;
  if (frame >= from && frame < to) {
    return `${where} was read: it is one of the last ${to - from} frames.`;
  }
  if (!routed) return `${where} was not read.`;
  const percent = Math.max(1, Math.round(100 * routed[1]));
  return `${where} was read in ${percent} % of the passes and layers.`;
}

export class Lane {
  // nodes: {track, routed, reading, words}
  constructor(nodes, model) {
    this.nodes = nodes;
    this.model = model;
    this.pointed = null; // the frame at which the pointer is
    const point = ({ clientX }) => {
      if (!this.event) return;
      const box = nodes.track.getBoundingClientRect();
      const share = Math.min(0.9999, Math.max(0, (clientX - box.left) / box.width));
      const end = (this.event.chunk + 1) * model.frames_per_chunk;
      this.say(Math.floor(share * end));
    };
    nodes.track.addEventListener('pointermove', point);
    nodes.track.addEventListener('pointerdown', point);
    nodes.track.addEventListener('pointerleave', () => this.say(null));
  }

  clear() {
    this.event = null;
    this.known = new Map(); // reads of past chunks, by revision and chunk
    this.nodes.track.replaceChildren();
    this.nodes.reading.textContent = '';
    this.nodes.words.textContent = '';
    this.nodes.routed.replaceChildren(make('li', {
      className: 'none', textContent: 'The frames that the memory reads.' }));
  }

  // Shows what was read for the last chunk of a film until the next one comes.
  async recallLast(session) {
    const { id, chunks } = session;
    const { known } = this;
    const path = `/sessions/${id}/chunks/${chunks - 1}/reads`;
    const reads = chunks ? await ask('GET', path).catch(() => null) : null;
    if (!reads?.words || this.event || this.known !== known) return;
    this.draw(reads, session);
  }

  // Says how much of a frame was read; null: what was read for the whole chunk.
  say(frame) {
    if (!this.event) return;
    this.pointed = frame;
    this.mark([]);
    if (frame === null) {
      this.nodes.words.textContent = this.event.words;
      return;
    }
    const said = words(frame, this.event, this.session, this.model);
    this.nodes.words.textContent = said;
    const chunk = Math.floor(frame / this.model.frames_per_chunk);
    if (chunk < this.event.chunk) this.recall(frame, chunk, said);
  }

  // Adds what was read when the frame was made, and marks it in the lane.
  async recall(frame, chunk, said) {
    const key = `${this.session.revision} ${chunk}`;
    if (!this.known.has(key)) {
      const path = `/sessions/${this.session.id}/chunks/${chunk}/reads`;
      this.known.set(key, ask('GET', path).catch(() => null));
    }
    const reads = await this.known.get(key);
    if (!reads?.words || this.pointed !== frame) return;
    const then = reads.words.replace(/^It read/, 'When it was made, the memory read');
    this.nodes.words.textContent = `${said} ${then}`;
    const [from, to] = reads.window;
    this.mark([...reads.routed_frames.map(([one]) => one),
      ...Array.from({ length: to - from }, (_, n) => from + n)]);
  }

  // Marks frames of the film in the lane.
  mark(frames) {
    const { track } = this.nodes;
    for (const old of track.querySelectorAll('.past')) old.remove();
    const end = (this.event.chunk + 1) * this.model.frames_per_chunk;
    for (const frame of frames) {
      const node = make('i', { className: 'past' });
      node.style.left = `${(100 * (frame + 0.5)) / end}%`;
      track.append(node);
    }
  }

  // Draws what the memory read for the chunk on screen, whose event is `event`.
  draw(event, session) {
    this.event = event;
    this.session = session;
    const F = this.model.frames_per_chunk;
    const end = (event.chunk + 1) * F;
    const place = (frame) => `${(100 * frame) / end}%`;
    const marks = session.segments
      .filter((one) => (one.cut || one.chunk === 0) && one.chunk * F < end)
      .map((one, n, all) => {
        const node = make('i', { className: 'shot' });
        const stop = all[n + 1] ? all[n + 1].chunk * F : end;
        node.style.left = place(one.chunk * F);
        node.style.width = place(stop - one.chunk * F);
        return node;
      });
    const [from, to] = event.window;
    const recent = make('i', { className: 'window' });
    recent.style.left = place(from);
    recent.style.width = place(to - from);
    marks.push(recent);
    for (const [frame, share] of event.routed_frames) {
      const routed = make('i', { className: 'routed' });
      routed.style.left = place(frame + 0.5);
      routed.style.height = `${Math.max(12, 100 * share)}%`;
      marks.push(routed);
    }
    this.nodes.track.replaceChildren(...marks);
    this.drawImages(event, session);
    if (!this.nodes.track.matches(':hover')) this.say(null);
    else if (this.pointed !== null) this.say(this.pointed);
    const count = event.routed_frames.length;
    this.nodes.reading.textContent = count
      ? `reads ${count} past frame${count > 1 ? 's' : ''}, and the last ${to - from}`
      : '';
  }

  drawImages(event, session) {
    const most = [...event.routed_frames]
      .sort((a, b) => b[1] - a[1]).slice(0, MAX_IMAGES)
      .sort((a, b) => a[0] - b[0]);
    const images = most.map(([frame, share]) => {
      const time = clock(secsOf(frame, this.model));
      const image = make('img', {
        src: thumbnail(session, frame),
        alt: words(frame, event, session, this.model),
      });
      image.style.opacity = 0.35 + 0.65 * share;
      const item = make('li', { tabIndex: 0 }, image,
        make('span', { textContent: time }));
      item.onpointerenter = item.onfocus = () => this.say(frame);
      item.onpointerleave = item.onblur = () => this.say(null);
      return item;
    });
    const none = make('li', {
      className: 'none',
      textContent: 'Only the last frames: none is older than the window yet.',
    });
    this.nodes.routed.replaceChildren(...(images.length ? images : [none]));
  }
}
