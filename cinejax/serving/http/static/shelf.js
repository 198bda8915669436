// The list of films on the server. A film that is open, saved or deleted can be
// entered, renamed, deleted or brought back from here.

import { ask } from '/client.js';
import { clock, make } from '/view.js';

const button = (textContent, onclick, className = '') =>
  make('button', { type: 'button', textContent, onclick, className });

export class Shelf {
  // nodes: {dialog, title, list, close}; on: {enter, current, fail}
  constructor(nodes, on) {
    this.nodes = nodes;
    this.on = on;
    nodes.close.onclick = () => nodes.dialog.close();
  }

  async open() {
    await this.update();
    this.nodes.dialog.showModal();
  }

  async update() {
    const { live, saved, deleted, max_films: most }
      = await ask('GET', '/sessions');
    const { title, list } = this.nodes;
    title.textContent =
      `Films on this server: ${live.length + saved.length} of at most ${most}`;
    list.replaceChildren(
      ...live.map((one) => this.row(one, `${one.status} · ${clock(one.secs)}`)),
      ...saved.map((one) => this.row(one, 'saved')),
      ...deleted.map((one) => this.deletedRow(one)));
  }

  // Changes a film on the server, and then shows the list again.
  change(method, path, body) {
    return ask(method, `/sessions/${path}`, body)
      .then(() => this.update(), this.on.fail);
  }

  // One film; `state` describes it: 'saved', or the state of an open film.
  row(one, state) {
    // Nobody deletes a film that somebody else watches.
    const others = one.viewers - (one.id === this.on.current() ? 1 : 0);
    return make('li', {},
      button(one.title || 'Untitled', () => {
        this.nodes.dialog.close();
        const opened = state === 'saved'
          ? ask('POST', '/sessions', { restore: one.id })
          : ask('GET', `/sessions/${one.id}`);
        opened.then(this.on.enter, this.on.fail);
      }, 'title'),
      make('span', { className: 'dim', textContent: state }),
      button('Rename', () => {
        const title = window.prompt('Name of the film', one.title);
        if (title !== null) this.change('PATCH', one.id, { title });
      }),
      others > 0 ? '' : button('Delete', () => this.change('DELETE', one.id)));
  }

  deletedRow(one) {
    return make('li', { className: 'dim' },
      `${one.title || 'Untitled'} · deleted`,
      button('Undo', () => this.change('POST', `${one.id}/undelete`)));
  }
}
