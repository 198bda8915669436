// The takes of a shot, side by side: each can be chosen back or deleted.

import { Stills, Track } from '/stills.js';
import { clock, make } from '/view.js';

// The places of a session's takes by segment: the one in which a place lies, or
// -1 for the next segment, which is yet to be directed.
export function placesBySegment(session) {
  const places = new Map();
  for (const place of session.takes) {
    const at = session.segments.findLastIndex((one) => one.chunk <= place.chunk);
    const one = session.segments[at];
    const ends = !one || place.chunk >= one.chunk + one.chunks;
    const key = ends ? -1 : at;
    places.set(key, [...(places.get(key) ?? []), place]);
  }
  return places;
}

export class Takes {
  // dialog: holds h2, ol and .note; on: {choose, remove, undo}
  constructor(dialog, model, on) {
    this.dialog = dialog;
    this.model = model;
    this.on = on;
    dialog.querySelector('.close').onclick = () => dialog.close();
    dialog.addEventListener('close', () => { this.place = null; });
    const tick = (now) => {
      if (this.place) this.play(now);
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  // A canvas with the first frame of a take.
  picture(session, { stored }) {
    this.enter(session);
    const canvas = make('canvas', {
      width: this.model.width, height: this.model.height });
    const [, first] = stored[0];
    this.stills.image(first, 0, 1).then((image) => {
      canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height);
    }, () => {});
    return canvas;
  }

  enter(session) {
    if (this.stills?.id !== session.id) this.stills = new Stills(session.id, this.model);
  }

  // Shows the takes of the place that begins with a chunk.
  open(session, chunk) {
    this.enter(session);
    this.chunk = chunk;
    this.removed = false;
    this.update(session, true);
    if (this.place) this.dialog.showModal();
  }

  update(session, opens = false) {
    if (!opens && !this.dialog.open) return;
    const key = JSON.stringify([session.id, session.revision, this.chunk,
      session.takes.find((one) => one.chunk === this.chunk)]);
    if (!opens && key === this.key) return;
    this.key = key;
    this.place = session.takes.find((one) => one.chunk === this.chunk);
    const takes = (this.place?.takes ?? []).map((one) => ({
      ...one, track: new Track(one.stored, this.model) }));
    const own = this.own(session);
    if (own) takes.push(own);
    takes.sort((a, b) => a.label - b.label);
    if (!this.place && !this.removed) return this.dialog.close();
    this.start = performance.now();
    this.tracks = takes.map((one) => one.track);
    const list = this.dialog.querySelector('ol');
    list.replaceChildren(...takes.map((one) => this.card(one)));
    this.canvases = [...list.querySelectorAll('canvas')];
    const segment = session.segments.findLast((one) => one.chunk <= this.chunk);
    const shot = (takes[0] ?? segment)?.shot ?? 0;
    this.dialog.querySelector('h2').textContent = `Takes of shot ${shot + 1}`;
    this.dialog.querySelector('.note').hidden = !this.removed;
  }

  // The take that is in the film.
  own(session) {
    if (!this.place) return null;
    const { chunk, label } = this.place;
    if (label === null) return null;
    const runs = session.stored.flatMap(([from, stored, count]) => {
      const skip = Math.max(0, chunk - from);
      return skip < count ? [[from + skip, stored + skip, count - skip]] : [];
    });
    const at = session.segments.findLast((one) => one.chunk <= chunk);
    return { label, shot: at?.shot ?? 0, prompt: at?.prompt ?? '', own: true,
      track: new Track(runs, this.model) };
  }

  card(one) {
    const canvas = make('canvas', {
      width: this.model.width, height: this.model.height,
      role: 'img', 'aria-label': `Take ${one.label}: ${one.prompt}` });
    const secs = clock(one.track.frames / this.model.fps);
    const actions = one.own
      ? [make('span', { className: 'dim', textContent: 'in the film' })]
      : [make('button', {
        type: 'button', textContent: 'Choose', className: 'accent',
        'aria-label': `Choose take ${one.label}`,
        onclick: () => {
          this.dialog.close();
          this.on.choose(one.take);
        } }),
      make('button', {
        type: 'button', textContent: 'Delete',
        'aria-label': `Delete take ${one.label}`,
        onclick: () => {
          this.removed = true;
          this.on.remove(one.take);
        } })];
    return make('li', { className: one.own ? 'own' : '' },
      canvas,
      make('p', {}, make('b', { textContent: `Take ${one.label}` }),
        make('span', { className: 'mono dim', textContent: secs })),
      make('p', { className: 'prompt', textContent: one.prompt }),
      make('div', { className: 'actions' }, ...actions));
  }

  // All takes play in step from where they part, again and again.
  play(now) {
    const longest = Math.max(1, ...this.tracks.map((one) => one.frames));
    const secs = Math.max(0, now - this.start) / 1000;
    const frame = Math.floor(secs * this.model.fps) % longest;
    this.tracks.forEach((track, n) => {
      if (!track.frames) return;
      const at = track.start + Math.min(frame, track.frames - 1);
      const { stored, index, frames } = track.at(at);
      const image = this.stills.now(stored, index);
      if (!image) {
        this.stills.image(stored, index, frames).catch(() => {});
        return;
      }
      const canvas = this.canvases[n];
      if (canvas.dataset.frame === String(at)) return;
      canvas.dataset.frame = at;
      canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height);
    });
  }
}
