// Shot strip and memory lane, from what the server tells.

const MOST = 8; // frames of the lane that are shown as pictures

export const clock = (secs) =>
  `${Math.floor(secs / 60)}:${(secs % 60).toFixed(1).padStart(4, '0')}`;

export function make(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.includes('-')) node.setAttribute(key, value);
    else node[key] = value;
  }
  node.append(...children);
  return node;
}

// Latent frame -> second of the film at which it begins.
export const secsOf = (frame, model) =>
  Math.max(0, model.stride * (frame - 1) + 1) / model.fps;

const still = (session, frame) =>
  `/sessions/${session.id}/frames/${frame}.jpg?revision=${session.revision}`;

export function drawStrip(list, session, model, on) {
  const made = session.chunks * model.frames_per_chunk;
  const follows = list.scrollLeft + list.clientWidth > list.scrollWidth - 240;
  const cards = session.segments.map((one, n) => {
    const frame = one.chunk * model.frames_per_chunk + 1;
    const goesOn = n > 0 && !one.cut;
    const name = goesOn ? `Shot ${one.shot + 1}, goes on` : `Shot ${one.shot + 1}`;
    const image = make('img', { alt: '', loading: 'lazy' });
    if (frame < made) image.src = still(session, frame);
    const back = make('div', { className: 'back' });
    if (n > 0 && session.rewind_chunks.includes(one.chunk)) {
      back.append(
        make('button', {
          type: 'button', textContent: 'Retake',
          title: 'Back to before this, and say it anew',
          'data-key': `retake ${one.chunk}`,
          'aria-label': `Retake from ${name}`,
          onclick: () => on.retake(one),
        }),
        make('button', {
          type: 'button', textContent: 'Fork',
          title: 'Another film with the same past',
          'data-key': `fork ${one.chunk}`,
          'aria-label': `Fork before ${name}`,
          onclick: () => on.fork(one),
        }),
      );
    }
    const card = make('li', { className: goesOn ? 'goes-on' : '' },
      make('div', { className: 'still' }, image,
        make('div', { className: 'head' },
          make('span', { textContent: name }),
          make('span', {
            className: 'mono',
            textContent: clock(one.secs),
            title: `${one.chunks} chunks`,
          }))),
      make('button', {
        type: 'button', className: 'said', textContent: one.prompt,
        title: 'Take this prompt up again',
        'data-key': `said ${one.chunk}`,
        onclick: () => on.reuse(one.prompt),
      }),
      back);
    if (n === session.segments.length - 1) {
      card.setAttribute('aria-current', 'true');
    }
    return card;
  });
  const grew = cards.length > list.children.length;
  const held = list.contains(document.activeElement)
    && document.activeElement.dataset.key;
  list.replaceChildren(...cards);
  if (held) list.querySelector(`[data-key="${held}"]`)?.focus();
  if (grew || follows) list.scrollLeft = list.scrollWidth;
}

// `event` is the chunk on screen: what was read to make it.
export function drawLane(nodes, event, session, model) {
  const F = model.frames_per_chunk;
  const end = (event.chunk + 1) * F;
  const place = (frame) => `${(100 * frame) / end}%`;
  const bits = session.segments
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
  bits.push(recent);
  for (const [frame, share] of event.routed_frames) {
    const look = make('i', { className: 'look' });
    look.style.left = place(frame + 0.5);
    look.style.height = `${Math.max(12, 100 * share)}%`;
    bits.push(look);
  }
  nodes.track.replaceChildren(...bits);
  const most = [...event.routed_frames].sort((a, b) => b[1] - a[1]).slice(0, MOST);
  most.sort((a, b) => a[0] - b[0]);
  const looks = most.map(([frame, share]) => {
    const time = clock(secsOf(frame, model));
    const percent = Math.round(100 * share);
    const image = make('img', {
      src: still(session, frame),
      alt: `Frame at ${time}, read in ${percent} % of passes`,
      title: `${time} · read in ${percent} % of passes and layers`,
    });
    image.style.opacity = 0.35 + 0.65 * share;
    return make('li', {}, image, make('span', { textContent: time }));
  });
  const none = make('li', {
    className: 'none',
    textContent: 'Only the last frames: nothing is older than the window yet.',
  });
  nodes.looks.replaceChildren(...(looks.length ? looks : [none]));
  const count = event.routed_frames.length;
  nodes.looking.textContent = count
    ? `reads ${count} past frame${count > 1 ? 's' : ''}, and the last ${to - from}`
    : '';
}
