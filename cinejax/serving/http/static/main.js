// The page of one session: its film and its directions.

import { ask, Live } from '/client.js';
import { Cast } from '/cast.js';
import { Composer } from '/compose.js';
import { Controls } from '/controls.js';
import { Demo } from '/demo.js';
import { Exports } from '/exports.js';
import { Film } from '/film.js';
import { fit } from '/fit.js';
import { Lane } from '/lane.js';
import { PlanList } from '/plan.js';
import { Player } from '/player.js';
import { Takes } from '/takes.js';
import '/theme.js';
import { clock, drawStrip, make } from '/view.js';

const at = (id) => document.getElementById(id);
const model = await ask('GET', '/model');
const film = new Film(at('film'), model);
fit(at('film'), at('screen'), model);
const demo = new Demo(at('demo'));
const nodes = (...ids) => Object.fromEntries(ids.map((id) => [id, at(id)]));
const composer = new Composer(
  nodes('prompt', 'marks', 'choices', 'tokens', 'notes'), model);
const controls = new Controls({
  ...nodes('policy', 'steps', 'guidance', 'lora', 'seed', 'blend', 'limits',
    'compiling'),
  routed: at('routed-frames'),
}, model, (direction) => say(direction));
const cast = new Cast(
  nodes('faces', 'add', 'picture'), model, { fail: (error) => fail(error) });
const lane = new Lane(nodes('track', 'routed', 'reading', 'words'), model);
const player = new Player({
  ...nodes('line', 'pictures', 'head', 'peek', 'back', 'step', 'loop', 'speed',
    'live', 'time'),
  marks: at('marks-of-shots'),
  play: at('watch'),
}, model, film);
const plan = new PlanList(
  { box: at('plan'), list: at('planned'), note: at('unplanned') }, model,
  (direction) => say(direction));
const takes = new Takes(at('takes'), model, {
  choose: (take) => say({ do: 'choose_take', take }),
  remove: (take) => say({ do: 'delete_take', take }),
});
let session = null; // its last state from the server
let live = null;
let chunk = null; // the event of the chunk on screen
let asleep = false; // the server has saved the session and freed it
let interrupted = false; // the connection was lost while the film rolled
const UNWATCHED = 'nobody is watching';
const BEGIN = 'This model made this film. For yours, write what is seen first, '
  + 'or press Enter to begin with the example.';

// --- the session -----------------------------------------------------------

function enter(state) {
  live?.close();
  film.clear(state.revision);
  chunk = null;
  asleep = false;
  session = state;
  history.replaceState(null, '', `#${state.id}`);
  interrupted = false;
  lane.clear();
  player.enter(state);
  live = new Live(state.id, {
    event: receive,
    frame: (revision, frame, blob) => film.add(revision, frame, blob),
    lost: () => {
      interrupted ||= session.status === 'rolling';
      slate('The connection is lost; trying again…');
    },
    gone: () => restore(state.id),
  });
  show();
  at('prompt').focus({ preventScroll: true }); // a phone opens on the film
}

async function restore(id) {
  try {
    enter(await ask('POST', '/sessions', { restore: id }));
  } catch {
    fail(new Error('that film no longer exists; this is a new one'));
    await begin({});
  }
}

async function begin(body) {
  try {
    const state = await ask('POST', '/sessions', body);
    if (session && !session.chunks) leave(session.id);
    enter(state);
  } catch (error) {
    fail(error);
  }
}

const leave = (id) => ask('DELETE', `/sessions/${id}`).catch(() => {});

function receive(message) {
  if (message.type === 'session') {
    if (message.revision !== session.revision) forget();
    session = message;
    player.update(session);
    // A film pauses while nobody watches. It goes on if that was no wish of
    // anybody, and else waits for the button.
    if (interrupted && message.reason === UNWATCHED) say({ do: 'resume' });
    interrupted = false;
    show();
  } else if (message.type === 'chunk') {
    film.expect(message);
    session.chunks = message.chunk + 1;
    player.grow(message);
    setTimeout(() => onScreen(message), message.starts_in_ms);
  } else if (message.type === 'error') {
    fail(new Error(message.error));
  } else if (message.type === 'saved') {
    asleep = true;
    live.close();
    slate('The film was idle and has been saved. Roll to go on with it.');
  } else if (message.type === 'closing') {
    slate('The server is closing and has saved the film.');
  }
}

// The film has gone elsewhere: what was said of its last chunk is over.
function forget() {
  chunk = null;
  lane.clear();
  for (const id of ['latency', 'generated']) at(id).textContent = '–';
}

function onScreen(event) {
  if (event.revision !== session.revision) return;
  const isNew = !chunk || event.segment !== chunk.segment;
  chunk = event;
  lane.draw(event, session);
  cast.read(event);
  at('latency').textContent =
    event.latency_ms === null ? '–' : `${event.latency_ms} ms`;
  at('generated').textContent =
    `${((1000 * event.frames) / Math.max(1, event.generation_ms)).toFixed(0)} fps`;
  at('film').setAttribute('aria-label', `The film: ${event.prompt}`);
  showLength(event.shot, (event.frame + event.frames) / model.fps);
  if (isNew) {
    const opens = event.cut || event.chunk === 0;
    const what = opens ? `Shot ${event.shot + 1}` : 'Continued';
    at('announcer').textContent = `${what}: ${event.prompt}`;
    show();
  }
  const last = session.segments.at(-1);
  if (last) last.chunks = Math.max(last.chunks, event.chunk + 1 - last.chunk);
}

// --- the state of the session ----------------------------------------------

function show() {
  const rolls = session.status === 'rolling';
  at('play').textContent = rolls ? '❚❚ Pause' : '▶ Roll';
  at('play').setAttribute('aria-label', rolls ? 'Pause' : 'Roll');
  at('play').disabled = !session.segments.length;
  const empty = !session.chunks && !session.segments.length && !rolls;
  demo.show(empty);
  slate(rolls ? '' : empty && demo.plays ? BEGIN : session.reason);
  at('again').hidden = rolls || empty || session.status !== 'paused';
  const title = `${session.title || 'Untitled'} · seed ${session.seed}`;
  at('about').textContent = `${model.name} · ${title}`;
  document.title = `${session.title || 'Untitled'} · cinejax`;
  at('mp4').disabled = at('png').disabled = !session.chunks;
  offer('screenplay', 'screenplay.json');
  drawStrip(at('strip'), session, model, {
    retake, fork, reuse, takes: (chunk) => takes.open(session, chunk),
    picture: (take) => takes.picture(session, take) });
  showLength(session.segments.at(-1)?.shot, session.secs);
  plan.update(session);
  takes.update(session);
  for (const id of ['undo', 'redo']) {
    at(id).disabled = !session[id];
    at(id).title = session[id] ? `${id === 'undo' ? 'Undo' : 'Redo'}: ${session[id]}` : '';
  }
  controls.show(session);
  at('compare').href = session.segments.length
    ? `/compare.html#from=${session.id}` : '/compare.html';
  cast.show(session).catch(fail);
}

function showLength(shot, secs) {
  at('length').textContent =
    shot === undefined ? '' : `${shot + 1} · ${clock(secs)}`;
}

// A link to a download; disabled, also for the keyboard, without a film.
function offer(id, file) {
  at(id).setAttribute('aria-disabled', String(!session.chunks));
  if (session.chunks) at(id).href = `/sessions/${session.id}/${file}`;
  else at(id).removeAttribute('href');
}

function slate(text) {
  at('slate').textContent = text ?? '';
}

let failing;
function fail(error) {
  at('error').textContent = error.message;
  clearTimeout(failing);
  failing = setTimeout(() => { at('error').textContent = ''; }, 6000);
}

setInterval(() => {
  const rate = film.rate();
  at('fps').textContent = rate === null ? '–' : `${rate.toFixed(1)} fps`;
}, 250);

// --- directions ------------------------------------------------------------

async function say(direction) {
  if (asleep) {
    await restore(session.id);
    await live.open;
  }
  if (!live.send(direction)) fail(new Error('there is no connection to the server yet'));
}

function prompt(cut) {
  let text = at('prompt').value.trim();
  if (!text && !session.segments.length) {
    text = at('prompt').placeholder; // one key begins a film
    composer.write(text);
  }
  if (!text) return at('prompt').focus();
  const direction = { do: 'prompt', prompt: text, cut };
  Object.assign(direction, controls.fields(cut));
  if (at('at').value !== '') direction.at_secs = Number(at('at').value);
  say(direction);
  at('at').value = ''; // the next prompt is for at once again
  at('prompt').select();
}

function retake(one) {
  say({ do: 'rewind', chunk: one.chunk });
  composer.write(one.prompt); // to be changed, or sent once more
}
async function fork(one) {
  try {
    enter(await ask('POST', `/sessions/${session.id}/fork`, { chunk: one.chunk }));
  } catch (error) {
    fail(error);
  }
}
const reuse = (text) => composer.write(text);

at('say').addEventListener('submit', (event) => {
  event.preventDefault();
  prompt(false);
});
at('cut').onclick = () => prompt(true);
at('prompt').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.isComposing) return;
  event.preventDefault();
  prompt(event.shiftKey);
});
at('play').onclick = () =>
  say({ do: session.status === 'rolling' ? 'pause' : 'resume' });
at('again').onclick = () => say({ do: 'resume' });
at('demo').onplaying = () => show();
at('undo').onclick = () => say({ do: 'undo' });
at('redo').onclick = () => say({ do: 'redo' });
at('take-back').onclick = () => {
  takes.removed = false;
  say({ do: 'undo' });
};
at('hold').onclick = () => say({ do: 'hold' });
at('films').onclick = async () => {
  await shelve();
  at('shelf').showModal();
};

async function shelve() {
  const { live: others, saved, deleted, max_films: most }
    = await ask('GET', '/sessions');
  at('shelf-title').textContent =
    `Films on this server: ${others.length + saved.length} of at most ${most}`;
  const button = (textContent, onclick, className = '') =>
    make('button', { type: 'button', textContent, onclick, className });
  const change = (method, path, body) =>
    ask(method, `/sessions/${path}`, body).then(shelve, fail);
  const row = (one, how) =>
    make('li', {},
      button(one.title || 'Untitled', () => {
        at('shelf').close();
        if (how === 'saved') restore(one.id);
        else ask('GET', `/sessions/${one.id}`).then(enter, fail);
      }, 'title'),
      make('span', { className: 'dim', textContent: how }),
      button('Rename', () => {
        const title = window.prompt('Name of the film', one.title);
        if (title !== null) change('PATCH', one.id, { title });
      }),
      one.viewers ? '' : button('Delete', () => change('DELETE', one.id)));
  const gone = (one) =>
    make('li', { className: 'dim' }, `${one.title || 'Untitled'} · deleted`,
      button('Undo', () => change('POST', `${one.id}/undelete`)));
  at('shelved').replaceChildren(
    ...others.map((one) => row(one, `${one.status} · ${clock(one.secs)}`)),
    ...saved.map((one) => row(one, 'saved')),
    ...deleted.map(gone));
}
const exports = new Exports(at('exports'), fail);
for (const id of ['mp4', 'png']) {
  at(id).onclick = () => exports.start(session, id);
}
at('close').onclick = () => at('shelf').close();
at('new').onclick = () => begin({});
at('open').onclick = () => at('file').click();
at('file').onchange = () => run(at('file').files[0]);
document.addEventListener('dragover', (event) => event.preventDefault());
document.addEventListener('drop', (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file?.type.startsWith('image/')) cast.add(file);
  else run(file);
});
document.addEventListener('keydown', (event) => {
  const written = event.target.closest?.('input, textarea, select');
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'z' && !written) {
    event.preventDefault();
    say({ do: event.shiftKey ? 'redo' : 'undo' });
  }
  if (written || event.ctrlKey || event.metaKey || event.altKey) {
    // Escape leaves the prompt for the keys of the player.
    if (event.key === 'Escape' && event.target === at('prompt')) at('line').focus();
    return;
  }
  if (event.defaultPrevented || at('takes').open || at('shelf').open) return;
  if (event.key === ' ' && event.target.closest?.('button, a')) return;
  // Away from the live head, Space is for what is watched.
  if (event.key === ' ') (player.live ? at('play') : at('watch')).click();
  else if (player.key(event)) return event.preventDefault();
  else if (event.key === '/') at('prompt').focus();
  else return;
  event.preventDefault();
});

async function run(file) {
  if (!file) return;
  try {
    const document = JSON.parse(await file.text());
    await begin({ film: document });
  } catch (error) {
    fail(error instanceof SyntaxError
      ? new Error(`${file.name} is not JSON`) : error);
  } finally {
    at('file').value = '';
  }
}

// --- what the model can do -------------------------------------------------

document.documentElement.style.setProperty(
  '--aspect', model.width / model.height);
document.documentElement.classList.toggle('small', model.height < 256);

const known = location.hash.slice(1);
if (known) {
  await ask('GET', `/sessions/${encodeURIComponent(known)}`)
    .then(enter, () => restore(known));
} else {
  await begin({});
}
