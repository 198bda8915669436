// The shelf of faces: pictures of characters that a film begins with. They can
// change until the film begins; then each shows how much of it was read.

import { ask } from '/client.js';
import { make } from '/view.js';

// A picture file as a data URL of the size of the film, evenly cropped.
async function embedded(file, { width, height }) {
  const image = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name} is no picture that this browser reads`);
  });
  const scale = Math.max(width / image.width, height / image.height);
  const canvas = make('canvas', { width, height });
  const context = canvas.getContext('2d');
  context.fillStyle = '#fff'; // behind transparent parts
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = 'high';
  const [across, down] = [image.width * scale, image.height * scale];
  context.drawImage(
    image, (width - across) / 2, (height - down) / 2, across, down);
  image.close();
  return canvas.toDataURL('image/png');
}

const guess = (file) => {
  const stem = file.name.replace(/\.[^.]*$/, '').replace(/[-_\d]+/g, ' ').trim();
  return stem && stem[0].toUpperCase() + stem.slice(1);
};

export class Cast {
  // nodes: {faces, add, picture}; on: {changed, fail}
  constructor(nodes, model, on) {
    Object.assign(this, { nodes, model, on });
    this.session = null;
    this.pictures = []; // {name, picture}, in the order of their numbers
    this.shares = new Map();
    nodes.add.onclick = () => nodes.picture.click();
    nodes.picture.onchange = async () => {
      for (const file of nodes.picture.files) await this.add(file);
      nodes.picture.value = '';
    };
  }

  get begun() {
    return this.session.segments.length > 0;
  }

  // Shows the cast of a session; asks for the pictures if they have changed.
  async show(session) {
    this.session = session;
    const count = session.cast?.length;
    const names = JSON.stringify([session.id, session.cast]);
    if (names !== this.names) {
      this.names = names;
      this.pictures = [];
      this.shares = new Map(); // of the chunk on screen, by picture
      const path = `/sessions/${session.id}/cast`;
      const { cast } = count ? await ask('GET', path) : { cast: {} };
      if (names !== this.names) return; // another one was shown meanwhile
      this.pictures = Object.entries(cast).flatMap(([name, one]) =>
        [one].flat().map((picture) => ({ name, picture })));
    }
    this.draw();
  }

  async add(file) {
    if (this.begun) {
      return this.on.fail(new Error(
        'the film has begun, so its cast stays; begin a new film first'));
    }
    const name = window.prompt('Who is this? Prompts name the character so.',
      guess(file))?.trim();
    if (!name) return undefined;
    const path = `/sessions/${this.session.id}/cast`;
    try {
      const picture = await embedded(file, this.model);
      return this.on.changed(await ask('POST', path, { name, picture }));
    } catch (error) {
      return this.on.fail(error);
    }
  }

  remove(name) {
    const path = `/sessions/${this.session.id}/cast/${encodeURIComponent(name)}`;
    ask('DELETE', path).then(this.on.changed, this.on.fail);
  }

  draw() {
    const { faces, add } = this.nodes;
    add.disabled = this.begun;
    add.title = this.begun
      ? 'The film has begun: its cast stays'
      : 'A picture of a character, before the film begins';
    faces.replaceChildren(...this.pictures.map(({ name, picture }) => {
      const face = make('li', {},
        make('img', { src: picture, alt: `The picture of ${name}` }),
        make('span', { textContent: name }));
      if (!this.begun) {
        face.append(make('button', {
          type: 'button', textContent: '×', 'aria-label': `Remove ${name}`,
          onclick: () => this.remove(name),
        }));
      }
      return face;
    }));
    this.mark();
  }

  // Shows how much of each picture the memory read for the chunk on screen.
  read(event) {
    this.shares = new Map(event.pictures);
    this.mark();
  }

  mark() {
    [...this.nodes.faces.children].forEach((face, number) => {
      const share = this.shares.get(number) ?? 0;
      face.style.setProperty('--read', share);
      face.title = share
        ? `Read in ${Math.max(1, Math.round(100 * share))} % of the passes and layers`
        : this.begun ? 'Not read for this chunk' : '';
    });
  }
}
