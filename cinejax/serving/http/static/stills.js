// The recorded frames of a film: a stored chunk is fetched as a whole, and its
// pictures are decoded when they are shown.

const MAX_CHUNKS = 48; // fetched, of one film
const MAX_IMAGES = 160; // decoded

// A map that forgets what was used longest ago.
class Recent {
  constructor(most, forget = () => {}) {
    this.most = most;
    this.forget = forget;
    this.map = new Map();
  }

  get(key) {
    const value = this.map.get(key);
    if (value !== undefined) this.set(key, value);
    return value;
  }

  set(key, value) {
    this.map.delete(key);
    this.map.set(key, value);
    if (this.map.size <= this.most) return;
    const [oldest, gone] = this.map.entries().next().value;
    this.map.delete(oldest);
    this.forget(gone);
  }
}

export class Stills {
  constructor(id, model) {
    this.id = id;
    this.model = model;
    this.chunks = new Recent(MAX_CHUNKS); // promises of lists of blobs
    this.images = new Recent(MAX_IMAGES); // promises of {image}
    this.ready = new Map(); // decoded ones of `images`
    this.images.forget = (promise) => promise.then(({ key, image }) => {
      if (this.ready.get(key) === image) this.ready.delete(key);
      image.close();
    }, () => {});
  }

  // The pictures of a stored chunk, as blobs.
  fetch(stored) {
    let found = this.chunks.get(stored);
    if (!found) {
      found = this.load(stored);
      this.chunks.set(stored, found);
      found.catch(() => this.chunks.map.delete(stored));
    }
    return found;
  }

  async load(stored) {
    const answer = await fetch(`/sessions/${this.id}/stills/${stored}`);
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    const data = await answer.arrayBuffer();
    const head = new DataView(data);
    const count = head.getUint32(0);
    let start = 4 * (count + 1);
    return Array.from({ length: count }, (_, n) => {
      const size = head.getUint32(4 * (n + 1));
      start += size;
      return new Blob([data.slice(start - size, start)], { type: 'image/jpeg' });
    });
  }

  // A pixel frame: number `index` of the `frames` of a stored chunk.
  image(stored, index, frames) {
    const key = `${stored}/${index}`;
    let found = this.images.get(key);
    if (!found) {
      found = this.fetch(stored).then(async (blobs) => {
        // Films of earlier versions have fewer pictures.
        const blob = blobs[Math.floor((index * blobs.length) / frames)];
        const image = await createImageBitmap(blob);
        this.ready.set(key, image);
        return { key, image };
      });
      this.images.set(key, found);
      found.catch(() => this.images.map.delete(key));
    }
    return found.then(({ image }) => image);
  }

  // The same if it is decoded already, or else null.
  now(stored, index) {
    return this.ready.get(`${stored}/${index}`) ?? null;
  }
}

// Where the chunks of a film, or of a take, are stored.
export class Track {
  // runs: [chunk of the film, number of the stored chunk, count]
  constructor(runs, model) {
    this.runs = runs;
    this.model = model;
    const last = runs.at(-1);
    this.chunk = runs.length ? runs[0][0] : 0; // the first
    this.chunks = last ? last[0] + last[2] - this.chunk : 0;
    this.start = startOf(this.chunk, model);
    this.frames = startOf(this.chunk + this.chunks, model) - this.start;
  }

  // {chunk, stored, index, frames} of a pixel frame of the film.
  at(frame) {
    const { frames_per_chunk: F, stride } = this.model;
    const latent = frame > 0 ? Math.floor((frame - 1) / stride) + 1 : 0;
    const chunk = Math.floor(latent / F);
    const run = this.runs.find(([from, , count]) => chunk >= from && chunk < from + count);
    if (!run) return null;
    const start = startOf(chunk, this.model);
    return {
      chunk,
      stored: run[1] + chunk - run[0],
      index: frame - start,
      frames: startOf(chunk + 1, this.model) - start,
    };
  }
}

// The first pixel frame of a chunk.
export const startOf = (chunk, { frames_per_chunk: F, stride }) =>
  chunk ? stride * (chunk * F - 1) + 1 : 0;
