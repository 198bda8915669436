// Downloads of the film: the buttons and the link that start them, and the
// progress of each video that the server writes, which can be cancelled.

import { ask } from '/client.js';
import { make } from '/view.js';

const WAIT_MS = 300; // between two looks at the progress
const NAMES = { mp4: 'MP4', png: 'PNG files' };

export class Exports {
  // nodes: {list, screenplay, mp4, png}; fail: is called with errors
  constructor(nodes, fail) {
    this.nodes = nodes;
    this.fail = fail;
    for (const format of Object.keys(NAMES)) {
      nodes[format].onclick = () => this.start(this.session, format);
    }
  }

  // Offers the downloads of a session, if it has a film.
  show(session) {
    this.session = session;
    const { screenplay, mp4, png } = this.nodes;
    mp4.disabled = png.disabled = !session.chunks;
    // A link is not disabled by an attribute, so it loses its address.
    screenplay.setAttribute('aria-disabled', String(!session.chunks));
    if (session.chunks) {
      screenplay.href = `/sessions/${session.id}/screenplay.json`;
    } else {
      screenplay.removeAttribute('href');
    }
  }

  async start(session, format) {
    let entry;
    try {
      entry = await ask('POST', `/sessions/${session.id}/exports`, { format });
    } catch (error) {
      this.fail(error);
      return;
    }
    const name = `${entry.title}, ${NAMES[format]}`;
    const progress = make('progress', { max: 1, value: 0, 'aria-label': name });
    const state = make('span', { className: 'dim mono' });
    const button = make('button', { type: 'button', textContent: 'Cancel',
      'aria-label': `Cancel ${name}` });
    const node = make('li', {}, make('span', { textContent: name }), progress,
      state, button);
    let wanted = true;
    button.onclick = () => {
      wanted = false;
      node.remove();
      ask('DELETE', `/exports/${entry.id}`).catch(() => {});
    };
    this.nodes.list.append(node);
    const follow = async () => {
      if (!wanted) return;
      try {
        entry = await ask('GET', `/exports/${entry.id}`);
      } catch (error) {
        node.remove();
        this.fail(error);
        return;
      }
      progress.value = entry.share;
      state.textContent = entry.status === 'running'
        ? `${Math.round(100 * entry.share)} %` : entry.status;
      if (entry.status === 'done') {
        this.fetch(entry);
        button.textContent = 'Dismiss';
        button.setAttribute('aria-label', `Dismiss ${name}`);
      } else if (entry.status === 'failed') {
        this.fail(new Error(`the film was not written: ${entry.error}`));
        button.textContent = 'Dismiss';
      } else {
        setTimeout(follow, WAIT_MS);
      }
    };
    follow();
  }

  fetch(entry) {
    const link = make('a', { href: `/exports/${entry.id}/file`, download: '' });
    document.body.append(link);
    link.click();
    link.remove();
  }
}
