// Plays the frames that a film has, at any place and speed, also while it rolls.
// The live head is the end of the same line: there the page shows the frames
// that arrive (film.js), and everywhere else the recorded ones (stills.js).
// The line itself is drawn by timeline.js.

import { Stills, Track, startOf } from '/stills.js';
import { Timeline } from '/timeline.js';
import { make } from '/view.js';

const SPEEDS = [0.25, 0.5, 1, 2, 4, 8];
const FAST = [1, 2, 4, 8]; // of J and L, pressed again and again
const AHEAD_SECS = 2; // of playing, fetched in advance

export class Player {
  // nodes: {play, back, step, loop, speed, live} and those of the Timeline;
  // film: the Film of the live frames.
  constructor(nodes, model, film) {
    this.nodes = nodes;
    this.model = model;
    this.film = film;
    this.track = new Track([], model);
    this.frame = 0; // on the canvas, unless live
    this.rate = 0; // of playing: frames forward or back per frame time
    this.live = true;
    this.looping = false;
    this.wanted = 0; // counts requests for a frame; only the last one is drawn
    for (const speed of SPEEDS) {
      nodes.speed.append(make('option', {
        value: speed, textContent: `${speed}×`, selected: speed === 1 }));
    }
    nodes.play.onclick = () => this.toggle();
    nodes.back.onclick = () => this.by(-1);
    nodes.step.onclick = () => this.by(1);
    nodes.loop.onclick = () => this.loop(!this.looping);
    nodes.live.onclick = () => this.goLive();
    nodes.speed.onchange = () => {
      if (this.rate) this.run(Math.sign(this.rate) * Number(nodes.speed.value));
    };
    this.timeline = new Timeline(nodes, model, {
      seek: (frame) => this.seek(frame),
      key: (event) => this.key(event),
    });
    const tick = (now) => {
      this.tick(now);
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  // Another film, which is shown from its live head.
  enter(session) {
    this.stills = new Stills(session.id, this.model);
    this.session = null;
    this.update(session);
  }

  // The film has grown, or has gone elsewhere.
  update(session) {
    const moved = this.session?.revision !== session.revision;
    this.session = session;
    this.track = new Track(session.stored, this.model);
    if (moved) {
      this.film.live = false; // the canvas keeps its picture for now
      this.film.clear(session.revision);
      this.goLive();
    }
    this.timeline.draw(session, this.track);
  }

  // A chunk was announced, before the state of the session is.
  grow({ chunk, stored, revision }) {
    if (revision !== this.session.revision || chunk !== this.track.chunks) return;
    const last = this.session.stored.at(-1);
    if (last && stored === last[1] + last[2]) last[2] += 1;
    else this.session.stored.push([chunk, stored, 1]);
    this.track = new Track(this.session.stored, this.model);
    this.timeline.draw(this.session, this.track);
  }

  get frames() {
    return this.track.frames;
  }

  // The frame that is on the canvas.
  get position() {
    const end = Math.max(0, this.frames - 1);
    return this.live ? Math.max(0, Math.min(this.film.frame, end)) : this.frame;
  }

  goLive() {
    this.live = true;
    this.film.live = true;
    this.rate = 0;
    this.wanted += 1;
    if (this.session?.status !== 'rolling') this.showEnd();
    this.show();
  }

  // The last frame, for a film that waits at its live head.
  async showEnd() {
    if (!this.frames || this.session.status === 'rolling') return;
    const request = ++this.wanted;
    const image = await this.image(this.frames - 1).catch(() => null);
    if (request === this.wanted && this.live && image) this.paint(this.frames - 1, image);
  }

  // Shows a frame, and stops.
  async seek(frame) {
    this.rate = 0;
    await this.to(frame);
  }

  by(frames) {
    this.seek(this.position + frames);
  }

  async to(frame) {
    if (!this.frames) return;
    this.live = false;
    this.film.live = false;
    this.frame = Math.max(0, Math.min(this.frames - 1, Math.round(frame)));
    this.show();
    const request = ++this.wanted;
    const image = await this.image(this.frame).catch(() => null);
    if (request === this.wanted && image) this.paint(this.frame, image);
  }

  image(frame) {
    const { stored, index, frames } = this.track.at(frame);
    return this.stills.image(stored, index, frames);
  }

  paint(frame, image) {
    const { canvas } = this.film;
    this.film.context.drawImage(image, 0, 0, canvas.width, canvas.height);
    if (this.live) this.film.frame = frame;
    canvas.dataset.frame = frame;
  }

  // Plays at a rate, which may be negative; 0 stops.
  run(rate) {
    if (!this.frames) return;
    if (this.live) {
      if (rate > 0) return; // there is nothing after the live head
      this.frame = this.position;
    }
    if (rate > 0 && this.frame >= this.frames - 1 && !this.looping) this.frame = 0;
    this.live = false;
    this.film.live = false;
    this.rate = rate;
    this.exact = this.frame;
    this.show();
  }

  toggle() {
    if (this.rate) this.run(0);
    else if (this.live) this.to(0).then(() => this.run(this.speed));
    else this.run(this.speed);
  }

  get speed() {
    return Number(this.nodes.speed.value);
  }

  // J and L: back and forward, faster with each press.
  shuttle(direction) {
    const now = Math.sign(this.rate) === direction ? Math.abs(this.rate) : 0;
    this.run(direction * (FAST.find((one) => one > now) ?? FAST.at(-1)));
  }

  loop(on) {
    this.looping = on;
    const [start, stop] = this.shot();
    this.loopOf = on ? [start, stop] : null;
    if (on && !this.rate) this.to(start).then(() => this.run(this.speed));
    this.show();
  }

  // First and last frame of the shot that is on screen.
  shot() {
    const chunk = this.track.at(this.position)?.chunk ?? 0;
    const segments = this.session.segments;
    const at = segments.findLast((one) => one.chunk <= chunk);
    const same = segments.filter((one) => one.shot === at?.shot);
    if (!same.length) return [0, this.frames - 1];
    const next = segments.find((one) => one.shot === at.shot + 1);
    const stop = next ? startOf(next.chunk, this.model) : this.frames;
    return [startOf(same[0].chunk, this.model), Math.min(stop, this.frames) - 1];
  }

  tick(now) {
    const secs = Math.min(0.1, (now - (this.last ?? now)) / 1000);
    this.last = now;
    if (this.rate && !this.live) this.play(secs);
    if (this.live) this.show();
  }

  play(secs) {
    let next = this.exact + this.rate * this.model.fps * secs;
    const [start, stop] = this.loopOf ?? [0, this.frames - 1];
    if (this.loopOf && (next > stop + 1 || next < start)) {
      next = this.rate > 0 ? start : stop;
    } else if (next >= this.frames) {
      // It has caught up with the film that is being made, or is at its end.
      if (this.session.status === 'rolling') return this.goLive();
      next = this.frames - 1;
      this.rate = 0;
    } else if (next < 0) {
      next = 0;
      this.rate = 0;
    }
    const frame = Math.min(this.frames - 1, Math.max(0, Math.floor(next)));
    this.prefetch(frame);
    const { stored, index } = this.track.at(frame);
    const image = this.stills.now(stored, index);
    if (!image) { // it waits for the picture
      this.image(frame).catch(() => {});
      return;
    }
    this.exact = next;
    if (frame !== this.frame || !this.rate) {
      this.frame = frame;
      this.wanted += 1;
      this.paint(frame, image);
    }
    this.show();
  }

  prefetch(frame) {
    const ahead = Math.ceil(Math.abs(this.rate) * this.model.fps * AHEAD_SECS);
    const step = Math.max(1, Math.floor(Math.abs(this.rate)));
    for (let n = step; n <= Math.min(ahead, 64); n += step) {
      const one = frame + Math.sign(this.rate) * n;
      if (one >= 0 && one < this.frames) this.image(one).catch(() => {});
    }
  }

  // --- what the page shows of it --------------------------------------------

  show() {
    const { nodes } = this;
    this.timeline.place(this.position, this.frames);
    const state = `${this.live} ${this.rate} ${this.looping} ${this.frames}`;
    if (state === this.shown) return;
    this.shown = state;
    const plays = this.rate !== 0;
    nodes.play.textContent = plays ? '❚❚' : '▶';
    nodes.play.setAttribute('aria-label', plays ? 'Stop watching' : 'Watch');
    nodes.loop.setAttribute('aria-pressed', this.looping);
    nodes.live.setAttribute('aria-pressed', this.live);
    for (const one of ['play', 'back', 'step', 'loop', 'speed']) {
      nodes[one].disabled = !this.frames;
    }
    this.film.canvas.parentElement.classList.toggle('watched', !this.live);
  }

  // The keys of the player; whether it was one of them.
  key({ key, shiftKey, ctrlKey, metaKey, altKey }) {
    if (ctrlKey || metaKey || altKey) return false;
    const one = shiftKey ? Math.round(this.model.fps) : 1;
    const keys = {
      j: () => this.shuttle(-1),
      k: () => this.run(0),
      l: () => this.shuttle(1),
      ArrowLeft: () => this.by(-one),
      ArrowRight: () => this.by(one),
      Home: () => this.seek(0),
      End: () => this.goLive(),
      o: () => this.loop(!this.looping),
    };
    const act = keys[key] ?? keys[key.toLowerCase?.()];
    if (!act || !this.session) return false;
    act();
    return true;
  }
}
