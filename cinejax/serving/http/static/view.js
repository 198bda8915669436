// Draws the strip of shots and the lane of the memory.

const MAX_IMAGES = 8; // frames of the lane that are shown as images

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

// The second of the film at which a latent frame begins.
export const secsOf = (frame, model) =>
  Math.max(0, model.stride * (frame - 1) + 1) / model.fps;

const thumbnail = (session, frame) =>
  `/sessions/${session.id}/frames/${frame}.jpg?revision=${session.revision}`;

export function drawStrip(list, session, model, on) {
  const frames = session.chunks * model.frames_per_chunk;
  const follows = list.scrollLeft + list.clientWidth > list.scrollWidth - 240;
  const cards = session.segments.map((one, n) => {
    const frame = one.chunk * model.frames_per_chunk + 1;
    const continues = n > 0 && !one.cut;
    const name = continues ? `Shot ${one.shot + 1}, continued` : `Shot ${one.shot + 1}`;
    const image = make('img', { alt: '', loading: 'lazy' });
    if (frame < frames) image.src = thumbnail(session, frame);
    const back = make('div', { className: 'back' });
    if (n > 0 && session.rewind_chunks.includes(one.chunk)) {
      back.append(
        make('button', {
          type: 'button', textContent: 'Retake',
          title: 'Go back to before this, and direct it again',
          'data-key': `retake ${one.chunk}`,
          'aria-label': `Retake from ${name}`,
          onclick: () => on.retake(one),
        }),
        make('button', {
          type: 'button', textContent: 'Fork',
          title: 'Another film with the same beginning',
          'data-key': `fork ${one.chunk}`,
          'aria-label': `Fork before ${name}`,
          onclick: () => on.fork(one),
        }),
      );
    }
    const card = make('li', { className: continues ? 'continued' : '' },
      make('div', { className: 'thumbnail' }, image,
        make('div', { className: 'head' },
          make('span', { textContent: name }),
          make('span', {
            className: 'mono',
            textContent: clock(one.secs),
            title: `${one.chunks} chunks`,
          }))),
      make('button', {
        type: 'button', className: 'reuse', textContent: one.prompt,
        title: 'Use this prompt again',
        'data-key': `reuse ${one.chunk}`,
        onclick: () => on.reuse(one.prompt),
      }),
      back);
    if (n === session.segments.length - 1) {
      card.setAttribute('aria-current', 'true');
    }
    return card;
  });
  const grew = cards.length > list.children.length;
  const focused = list.contains(document.activeElement)
    && document.activeElement.dataset.key;
  list.replaceChildren(...cards);
  if (focused) list.querySelector(`[data-key="${focused}"]`)?.focus();
  if (grew || follows) list.scrollLeft = list.scrollWidth;
}

// Draws what the memory read for the chunk on screen, whose event is `event`.
export function drawLane(nodes, event, session, model) {
  const F = model.frames_per_chunk;
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
  nodes.track.replaceChildren(...marks);
  const most = [...event.routed_frames].sort((a, b) => b[1] - a[1]).slice(0, MAX_IMAGES);
  most.sort((a, b) => a[0] - b[0]);
  const images = most.map(([frame, share]) => {
    const time = clock(secsOf(frame, model));
    const percent = Math.round(100 * share);
    const image = make('img', {
      src: thumbnail(session, frame),
      alt: `Frame at ${time}, read in ${percent} % of passes`,
      title: `${time} · read in ${percent} % of passes and layers`,
    });
    image.style.opacity = 0.35 + 0.65 * share;
    return make('li', {}, image, make('span', { textContent: time }));
  });
  const none = make('li', {
    className: 'none',
    textContent: 'Only the last frames: none is older than the window yet.',
  });
  nodes.routed.replaceChildren(...(images.length ? images : [none]));
  const count = event.routed_frames.length;
  nodes.reading.textContent = count
    ? `reads ${count} past frame${count > 1 ? 's' : ''}, and the last ${to - from}`
    : '';
}
